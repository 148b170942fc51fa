#!/bin/sh
# escriba against a real Ollama: `make check-ollama`. Skips (exit 0) with a reason where there is none.
#   OLLAMA=/path/to/ollama     the program; else the one on PATH; else built from its Go module (needs go, gcc, g++; minutes)
#   PEER_MODEL=/directory      a Qwen3-VL checkpoint to create the model from; else the model in the box
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
escriba=${ESCRIBA:-$root/build/src/cli/escriba}
model=${PEER_MODEL:-$root/models/escriba-tiny}
port=${PEER_PORT:-18434}
version=v0.17.4
cache=${XDG_CACHE_HOME:-$HOME/.cache}/escriba/peers
skip() { echo "check-ollama: skipped: $*"; exit 0; }

[ -x "$escriba" ] || skip "there is no $escriba: make build first"
[ -f "$model/model.safetensors" ] || skip "there is no model in $model"
ollama=${OLLAMA:-$(command -v ollama || true)}
if [ -z "$ollama" ]; then
    ollama=$cache/ollama-$version
    if [ ! -x "$ollama" ]; then
        command -v go > /dev/null || skip "neither ollama nor go is here"
        command -v g++ > /dev/null || skip "no ollama here, and no g++ to build it"
        echo "check-ollama: building Ollama $version from its Go module: this takes minutes"
        mkdir -p "$cache/bin"
        CGO_ENABLED=1 GOBIN=$cache/bin go install "github.com/ollama/ollama@$version" || skip "Ollama does not build here"
        mv "$cache/bin/ollama" "$ollama"
    fi
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/Modelfile" <<END
FROM $model
RENDERER qwen3-vl-instruct
PARSER qwen3-vl-instruct
END
export OLLAMA_HOST=127.0.0.1:$port OLLAMA_MODELS="$work/models" HOME="$work"
python3 "$root/tests/peers/check.py" --escriba "$escriba" --backend ollama --url "http://127.0.0.1:$port" \
    --probe "http://127.0.0.1:$port/api/tags" --model peer --prepare "'$ollama' create peer -f '$work/Modelfile'" -- \
    "$ollama" serve
