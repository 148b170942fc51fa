#!/bin/sh
# The job of deploy/ray on a real Ray cluster of two nodes on this machine: `make check-ray`. Skips (exit 0) with a reason
# where Ray cannot be had.
#   PEER_PYTHON=/venv/bin/python   a Python that has ray[data]; else one is made and kept in the cache (a quarter of a GB)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
escriba=${ESCRIBA:-$root/build/src/cli/escriba}
library=${ESCRIBA_LIBRARY:-$root/build/src/api/libescriba.so.0}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/escriba/peers
skip() { echo "check-ray: skipped: $*"; exit 0; }

[ -x "$escriba" ] && [ -f "$library" ] || skip "there is no $escriba: make build first"
[ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] || skip "two nodes of one core need two cores"
python=${PEER_PYTHON:-$cache/ray/bin/python}
if ! "$python" -c 'import ray.data' 2> /dev/null; then
    [ -z "${PEER_PYTHON:-}" ] || skip "$python has no ray[data]"
    echo "check-ray: fetching ray[data] from PyPI"
    mkdir -p "$cache"
    log=$(mktemp)
    python3 -m venv "$cache/ray" > "$log" 2>&1 || skip "python3 -m venv: $(tail -n 1 "$log")"
    "$cache/ray/bin/pip" install -q --disable-pip-version-check 'ray[data]' > "$log" 2>&1 || skip "pip: $(tail -n 1 "$log")"
    rm -f "$log"
fi
exec "$python" "$root/tests/peers/check_ray.py" --escriba "$escriba" --library "$library"
