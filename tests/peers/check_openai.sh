#!/bin/sh
# escriba against real OpenAI-compatible servers: `make check-openai`. Fetches and builds what is missing into the cache, and
# skips (exit 0) with a reason what cannot be had here.
#   PEER_PYTHON=/venv/bin/python   a Python that has mlx-vlm (off macOS with mlx-cpu); else one is made (1 GB from PyPI)
#   PEER_LLAMA=/directory          with llama-server; else the one on PATH, else built from the source package of
#                                  llama-cpp-python on PyPI (g++, cmake, ninja; ten minutes on two cores)
#   PEER_CONVERTER=/venv/bin/python  a Python for llama.cpp's converter (torch, transformers, sentencepiece); else one is
#                                  made (5 GB from PyPI). Not needed with PEER_GGUF and PEER_MMPROJ, a model converted before
#   PEER_MODEL=/directory          a Qwen3-VL checkpoint; else the model in the box
#   PEER_ONLY=mlx_vlm|llama.cpp    one of the two
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
escriba=${ESCRIBA:-$root/build/src/cli/escriba}
model=${PEER_MODEL:-$root/models/escriba-tiny}
labels=--labels
[ -z "${PEER_MODEL:-}" ] || labels=
port=${PEER_PORT:-18180}
url=http://127.0.0.1:$port/v1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/escriba/peers
log=$(mktemp)
trap 'rm -f "$log"' EXIT
skip() { echo "check-openai: $1: skipped: $2"; }
check() {
    python3 "$root/tests/peers/check.py" --escriba "$escriba" --backend openai --url "$url" --probe "$url/models" \
        --native "$model" $labels "$@"
}
# has PYTHON MODULES: whether it has them. get NAME PACKAGE...: a Python of its own in the cache, with those packages.
has() { "$1" -c "import $2" 2> /dev/null; }
get() {
    venv=$cache/$1
    shift
    python3 -m venv "$venv" > "$log" 2>&1 && "$venv/bin/pip" install -q --disable-pip-version-check "$@" > "$log" 2>&1
}

[ -x "$escriba" ] || { skip all "there is no $escriba: make build first"; exit 0; }
[ -f "$model/model.safetensors" ] || { skip all "there is no model in $model"; exit 0; }
mkdir -p "$cache"

check_mlx() {
    python=${PEER_PYTHON:-$cache/mlx/bin/python}
    if ! has "$python" "mlx_vlm, mlx.core" && [ -n "${PEER_PYTHON:-}" ]; then
        skip mlx_vlm "$python has no mlx_vlm"
        return
    fi
    extra=mlx-cpu
    [ "$(uname)" != Darwin ] || extra=mlx
    if ! has "$python" "mlx_vlm, mlx.core" && ! get mlx mlx-vlm $extra; then
        skip mlx_vlm "pip: $(tail -n 1 "$log")"
        return
    fi
    echo "check-openai: mlx_vlm.server $("$python" -c 'import importlib.metadata as m; print(m.version("mlx-vlm"))')"
    HF_HUB_OFFLINE=1 check --model "$model" -- "$python" -m mlx_vlm.server --host 127.0.0.1 --port "$port" --model "$model"
}

# $1: where llama.cpp's sources are, for its converter.
convert() {
    python=${PEER_CONVERTER:-$cache/convert/bin/python}
    if ! has "$python" "torch, transformers, sentencepiece" &&
        { [ -n "${PEER_CONVERTER:-}" ] || ! get convert torch transformers sentencepiece; }; then
        skip llama.cpp "no Python with torch, transformers and sentencepiece to convert $model: $(tail -n 1 "$log")"
        return 1
    fi
    for flags in "text.gguf --outtype bf16" "mmproj.gguf --mmproj --outtype f16"; do
        # shellcheck disable=SC2086
        "$python" "$root/bench/peers/llama_convert.py" "$1" . "$model" . "$cache/gguf/"$flags > "$log" 2>&1 || {
            skip llama.cpp "the converter: $(tail -n 1 "$log")"
            return 1
        }
    done
}

check_llama() {
    server=${PEER_LLAMA:+$PEER_LLAMA/llama-server}
    server=${server:-$(command -v llama-server || true)}
    text=${PEER_GGUF:-} mmproj=${PEER_MMPROJ:-}
    if [ -z "$server" ] || [ -z "$text" ] || [ -z "$mmproj" ]; then
        if [ ! -x "$cache/llama/bin/llama-server" ] || [ ! -d "$cache/llama/source" ]; then
            for tool in g++ cmake ninja; do
                command -v $tool > /dev/null || { skip llama.cpp "no llama-server here, and no $tool to build it"; return; }
            done
            echo "check-openai: building llama.cpp from the source package of llama-cpp-python: this takes minutes"
            "$root/bench/peers/build_llama.sh" "$cache/llama" python3 > "$log" 2>&1 || {
                skip llama.cpp "it does not build here: $(tail -n 1 "$log")"
                return
            }
        fi
        server=${server:-$cache/llama/bin/llama-server}
    fi
    if [ -z "$text" ] || [ -z "$mmproj" ]; then
        mkdir -p "$cache/gguf"
        convert "$cache/llama/source" || return 0
        text=$cache/gguf/text.gguf mmproj=$cache/gguf/mmproj.gguf
    fi
    echo "check-openai: llama-server $("$server" --version 2>&1 | sed -n 's/^version: //p')"
    check --model peer -- "$server" --host 127.0.0.1 --port "$port" -m "$text" --mmproj "$mmproj"
}

[ "${PEER_ONLY:-}" = llama.cpp ] || check_mlx
[ "${PEER_ONLY:-}" = mlx_vlm ] || check_llama
