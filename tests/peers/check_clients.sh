#!/bin/sh
# Real clients from the registries against a running server: openai and ollama, from PyPI and npm.
#
# check_clients.sh ESCRIBA      Skips, with a reason, what cannot be had here; ends with 77 when that was everything.
# Fetched clients are kept in $ESCRIBA_CLIENTS (default: a temporary directory).
set -u
escriba=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
clients=${ESCRIBA_CLIENTS:-$work/clients}
server=
failed=0
asked=0

finish() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server"
    rm -rf "$work"
}
trap finish EXIT
skip() { echo "skipped $1: $2"; }
# A registry that is not there must not keep anybody waiting.
patiently() { if command -v timeout >/dev/null; then timeout 90 "$@"; else "$@"; fi; }

python3 "$here/../../tools/make_random_checkpoint.py" "$work/model" --size tiny >/dev/null || exit 1
HOME=$work "$escriba" serve --model "$work/model" --port 0 >"$work/said" 2>"$work/errors" &
server=$!
tries=0
until grep -q listening "$work/said"; do
    tries=$((tries + 1))
    [ $tries -gt 300 ] && { echo "the server did not start:"; cat "$work/errors"; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/^listening at //p' "$work/said")
mkdir -p "$clients"

if ! python3 -m venv --help >/dev/null 2>&1; then
    skip "the Python clients" "python3 has no venv"
elif ! { [ -x "$clients/venv/bin/python" ] || python3 -m venv "$clients/venv" >/dev/null 2>&1; }; then
    skip "the Python clients" "python3 -m venv failed"
elif ! "$clients/venv/bin/python" -c 'import openai, ollama' 2>/dev/null &&
    ! patiently "$clients/venv/bin/pip" install -q --disable-pip-version-check --retries 1 --timeout 10 \
        openai ollama >"$work/pip" 2>&1; then
    skip "the Python clients" "pip: $(tail -n 1 "$work/pip")"
else
    asked=1
    "$clients/venv/bin/python" "$here/clients.py" "$url" || failed=1
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the npm clients" "node or npm is not installed"
elif ! [ -d "$clients/node_modules/openai" ] && ! { cd "$clients" &&
    patiently npm install --silent --no-audit --no-fund --fetch-retries 1 --fetch-timeout 10000 openai ollama >"$work/npm" 2>&1; }; then
    skip "the npm clients" "npm: $(tail -n 1 "$work/npm")"
else
    asked=1
    cp "$here/clients.mjs" "$clients/clients.mjs"
    node "$clients/clients.mjs" "$url" || failed=1
fi
[ $failed -eq 0 ] && [ $asked -eq 0 ] && exit 77
exit $failed
