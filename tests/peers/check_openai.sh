#!/bin/sh
# escriba against real OpenAI-compatible servers: `make check-openai`. Skips (exit 0) with a reason what is not here.
#   PEER_PYTHON=/venv/bin/python   a Python with mlx-vlm (pip install mlx-vlm mlx-cpu) and/or llama-cpp-python[server]
#   PEER_MODEL=/directory          a Qwen3-VL checkpoint for mlx_vlm; else the model in the box
#   PEER_GGUF=model.gguf PEER_MMPROJ=mmproj.gguf   a vision model for llama.cpp; llama-server on PATH is taken before
#                                  llama-cpp-python
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
escriba=${ESCRIBA:-$root/build/src/cli/escriba}
model=${PEER_MODEL:-$root/models/escriba-tiny}
python=${PEER_PYTHON:-python3}
port=${PEER_PORT:-18180}
url=http://127.0.0.1:$port/v1
skip() { echo "check-openai: $1: skipped: $2"; }
check() {
    python3 "$root/tests/peers/check.py" --escriba "$escriba" --backend openai --url "$url" --probe "$url/models" "$@"
}

[ -x "$escriba" ] || { skip all "there is no $escriba: make build first"; exit 0; }

if ! "$python" -c 'import mlx_vlm, mlx.core' 2> /dev/null; then
    skip mlx_vlm "$python has no mlx_vlm (pip install mlx-vlm, off macOS also mlx-cpu; then PEER_PYTHON)"
elif [ ! -f "$model/model.safetensors" ]; then
    skip mlx_vlm "there is no model in $model"
else
    echo "check-openai: mlx_vlm.server"
    HF_HUB_OFFLINE=1 check --model "$model" -- "$python" -m mlx_vlm.server --host 127.0.0.1 --port "$port" --model "$model"
fi

if [ -z "${PEER_GGUF:-}" ] || [ -z "${PEER_MMPROJ:-}" ]; then
    skip llama.cpp "PEER_GGUF and PEER_MMPROJ name no vision model"
elif command -v llama-server > /dev/null; then
    echo "check-openai: llama-server"
    check --model peer -- llama-server --host 127.0.0.1 --port "$port" -m "$PEER_GGUF" --mmproj "$PEER_MMPROJ"
elif "$python" -c 'import llama_cpp.server' 2> /dev/null; then
    echo "check-openai: llama_cpp.server"
    check --model peer -- "$python" -m llama_cpp.server --host 127.0.0.1 --port "$port" --model "$PEER_GGUF" \
        --clip_model_path "$PEER_MMPROJ" --chat_format qwen2.5-vl --model_alias peer
else
    skip llama.cpp "neither llama-server nor llama-cpp-python[server] is here"
fi
