#!/bin/sh
# Builds escriba with MLX and runs the tests that need it; with "bench", measures it beside mlx_vlm instead.
#
#   MLX_DIR=/folder   an MLX that is here (include/mlx, lib/libmlx.*); else Homebrew's, else the wheel of PyPI, in a
#                     virtual environment of its own below build-mlx
#   MLX_VLM_PYTHON=/venv/bin/python   for "bench": a Python with mlx_vlm; else one is installed
#
# Exit 77, with a reason, where MLX cannot be had.
set -eu
cd "$(dirname "$0")/../.."
build=build-mlx venv=build-mlx/venv
skip() { echo "check-mlx: skipped: $1"; exit 77; }

wheel() { # NAME...: the packages in the virtual environment; MLX needs its other half where there is no Metal
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || skip "python3 cannot make virtual environments"
    half=mlx-cpu
    [ "$(uname)" != Darwin ] || half=
    "$venv/bin/python" -m pip install --quiet $half "$@" || skip "the package registry does not give $*"
}

mkdir -p "$build"
mlx=${MLX_DIR:-}
[ -n "$mlx" ] || mlx=$(brew --prefix mlx 2> /dev/null || true)
if [ ! -e "$mlx/include/mlx/mlx.h" ]; then
    wheel mlx
    mlx=$("$venv/bin/python" -c 'import mlx.core, os; print(os.path.dirname(mlx.core.__file__))' | sed 's:/core$::')
fi
tools/find_mlx.py "$mlx" > /dev/null || skip "$mlx holds no MLX"
[ -e "$build/build.ninja" ] || meson setup "$build" --buildtype=release > "$build/setup.log" || { cat "$build/setup.log"; exit 1; }
meson configure "$build" -Dmlx=enabled "-Dmlx_dir=$mlx"
meson compile -C "$build"
if [ "${1:-}" = bench ]; then
    python=${MLX_VLM_PYTHON:-}
    [ -n "$python" ] || { wheel mlx mlx-vlm; python=$venv/bin/python; }
    blas=$(find /usr/lib /usr/local/lib -name 'libopenblas.so.0' 2> /dev/null | head -1)
    device=mlx-cpu
    "$build/src/cli/escriba" doctor --json | grep -q '"gpu": true' && device=mlx-gpu
    bench/mlx.py "$build" bench/results --python "$python" --device "$device"
    [ "$device" = mlx-cpu ] && [ -n "$blas" ] || exit 0
    echo "The same with OpenBLAS in place of the wheel's plain BLAS, in both:"
    exec bench/mlx.py "$build" bench/results --python "$python" --device "$device" --preload "$blas" --name mlx-openblas
fi
exec meson test -C "$build" --no-rebuild --print-errorlogs --suite mlx
