#!/bin/sh
# Ollama, from its Go module, with its backends for each kind of processor.
#
# build_ollama.sh DIR HEADERS     The program ends in DIR/bin, backends in DIR/lib/ollama, its version in DIR/version. Needs Go,
# a C++ compiler, cmake and ninja. The module lacks the folder llama/llama.cpp/vendor (headers of others); HEADERS is one, such
# as llama.cpp's own.
set -eu
headers=$(cd "$2" && pwd)
mkdir -p "$1"
cd "$1"
here=$(pwd)
rm -rf source build bin lib
module=$(cd / && go mod download -json github.com/ollama/ollama@latest)
folder=$(printf '%s\n' "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
version=$(printf '%s\n' "$module" | sed -n 's/.*"Version": "v\(.*\)".*/\1/p')
cp -r "$folder" source
chmod -R u+w source
mkdir -p source/llama/llama.cpp/vendor
cp -r "$headers/nlohmann" "$headers/stb" "$headers/miniaudio" source/llama/llama.cpp/vendor/
cd source
# Go's linker exports the program's own plain kernels, which would stand in for those of the backends loaded later.
symbolic=
if [ "$(uname)" = Linux ]; then symbolic=-Wl,-Bsymbolic; fi
cmake -G Ninja --preset CPU -B "$here/build" -DCMAKE_INSTALL_PREFIX="$here" -DCMAKE_MODULE_LINKER_FLAGS="$symbolic" >"$here/cmake.log"
ninja -C "$here/build" >"$here/ninja.log"
cmake --install "$here/build" --component CPU >>"$here/cmake.log"
mkdir -p "$here/bin"
go build -trimpath -ldflags "-X github.com/ollama/ollama/version.Version=$version" -o "$here/bin/ollama" .
echo "$version" >"$here/version"
