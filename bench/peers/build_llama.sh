#!/bin/sh
# llama.cpp's server and quantiser, from the source package of llama-cpp-python, for this processor or for one with AVX2.
#
# build_llama.sh DIR PYTHON [avx2]     Sources end in DIR/source, programs in DIR/bin. Needs a C++ compiler, cmake and ninja.
set -eu
if [ "${3:-}" = avx2 ]; then
    processor="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
else
    processor=-DGGML_NATIVE=ON
fi
mkdir -p "$1"
cd "$1"
rm -rf package source build bin
"$2" -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest package llama-cpp-python
mkdir source
tar xzf package/llama_cpp_python-*.tar.gz --strip-components 3 -C source --wildcards 'llama_cpp_python-*/vendor/llama.cpp/*'
rm -rf package
cmake -G Ninja -S source -B build -DCMAKE_BUILD_TYPE=Release $processor -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >cmake.log
ninja -C build llama-server llama-quantize llama-mtmd-cli >ninja.log
mkdir bin
cp build/bin/llama-server build/bin/llama-quantize build/bin/llama-mtmd-cli bin/
