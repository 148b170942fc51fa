#!/bin/sh
# escriba against a real Ollama: `make check-ollama`. Skips (exit 0) with a reason where there is none.
#   OLLAMA=/path/to/ollama     the program; else the one on PATH; else built into the cache from its Go module (needs go, g++,
#                              cmake and ninja; ten minutes on two cores)
#   PEER_MODEL=/directory      a checkpoint with Qwen3-VL's own sizes, which Ollama imports; else the model in the box, which goes
#                              into a file that names its sizes (ollama_model.py)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
escriba=${ESCRIBA:-$root/build/src/cli/escriba}
port=${PEER_PORT:-18434}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/escriba/peers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { echo "check-ollama: skipped: $*"; exit 0; }

# Headers of others that the module leaves out (nlohmann, stb, miniaudio): llama.cpp's source package has them.
headers() {
    [ ! -d "$cache/llama/source/vendor" ] || { headers=$cache/llama/source/vendor; return; }
    headers=$work/vendor
    mkdir "$headers"
    python3 -m pip download -q --no-deps --no-binary llama-cpp-python --dest "$work/package" llama-cpp-python > "$work/log" 2>&1 ||
        skip "pip: $(tail -n 1 "$work/log")"
    tar xzf "$work"/package/llama_cpp_python-*.tar.gz --strip-components 4 -C "$headers" --wildcards \
        'llama_cpp_python-*/vendor/llama.cpp/vendor/*'
}

[ -x "$escriba" ] || skip "there is no $escriba: make build first"
model=${PEER_MODEL:-}
[ -z "$model" ] || [ -f "$model/model.safetensors" ] || skip "there is no model in $model"
ollama=${OLLAMA:-$(command -v ollama || true)}
if [ -z "$ollama" ]; then
    ollama=$cache/ollama/bin/ollama
    if [ ! -x "$ollama" ]; then
        for tool in go g++ cmake ninja; do
            command -v $tool > /dev/null || skip "no ollama here, and no $tool to build it"
        done
        headers
        echo "check-ollama: building Ollama from its Go module: this takes minutes"
        "$root/bench/peers/build_ollama.sh" "$cache/ollama" "$headers" > "$work/log" 2>&1 ||
            skip "Ollama does not build here: $(tail -n 1 "$work/log")"
    fi
fi
from=$model labels=
if [ -z "$model" ]; then
    labels=--labels
    model=$root/models/escriba-tiny from=$work/model.gguf
    python3 "$root/tests/peers/ollama_model.py" "$model" "$from"
fi
cat > "$work/Modelfile" <<END
FROM $from
RENDERER qwen3-vl-instruct
PARSER qwen3-vl-instruct
END
export OLLAMA_HOST=127.0.0.1:$port OLLAMA_MODELS="$work/models" HOME="$work"
echo "check-ollama: $("$ollama" --version 2>&1 | sed -n 's/.*version is //p')"
python3 "$root/tests/peers/check.py" --escriba "$escriba" --backend ollama --url "http://127.0.0.1:$port" --native "$model" $labels \
    --probe "http://127.0.0.1:$port/api/tags" --model peer --prepare "'$ollama' create peer -f '$work/Modelfile' > '$work/log' 2>&1 || { tail -n 3 '$work/log'; exit 1; }" -- \
    "$ollama" serve
