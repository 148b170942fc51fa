#!/bin/sh
# The files of deploy/vllm and deploy/ray-serve against the schemas of those who read them: `make check-deploy`. Whether vLLM
# then starts needs a GPU, and is not shown here. Skips (exit 0) with a reason where the schemas cannot be had.
#   PEER_PYTHON=/venv/bin/python   a Python that has ray[serve], kubernetes-validate, jsonschema and PyYAML; else one is made
#                                  and kept in the cache
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/escriba/peers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { echo "check-deploy: skipped: $*"; exit 0; }

python=${PEER_PYTHON:-$cache/deploy/bin/python}
if ! "$python" -c 'import ray.serve, kubernetes_validate, jsonschema, yaml' 2> /dev/null; then
    [ -z "${PEER_PYTHON:-}" ] || skip "$python lacks a package"
    mkdir -p "$cache"
    python3 -m venv "$cache/deploy" > "$work/log" 2>&1 || skip "python3 -m venv: $(tail -n 1 "$work/log")"
    "$cache/deploy/bin/pip" install -q --disable-pip-version-check 'ray[serve]' kubernetes-validate jsonschema pyyaml > "$work/log" 2>&1 ||
        skip "pip: $(tail -n 1 "$work/log")"
fi
# The schema of compose files travels with the last compose that was written in Python.
"$python" -m pip download -q --disable-pip-version-check --no-deps --dest "$work" docker-compose==1.29.2 > "$work/log" 2>&1 ||
    skip "pip: $(tail -n 1 "$work/log")"
"$python" - "$root/deploy" "$work"/docker_compose-*.whl <<'END'
import json
import sys
import zipfile

import jsonschema
import kubernetes_validate
import yaml
from ray.serve.schema import ServeDeploySchema

deploy, wheel = sys.argv[1:]


def read(name):
    with open(f"{deploy}/{name}", encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


jsonschema.validate(read("vllm/compose.yaml")[0], json.loads(zipfile.ZipFile(wheel).read("compose/config/compose_spec.json")))
versions = [kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True) for one in read("vllm/kubernetes.yaml")]
ServeDeploySchema.model_validate(read("ray-serve/qwen3_vl.yaml")[0])
print(f"check-deploy: compose.yaml, kubernetes.yaml ({versions[0]}) and qwen3_vl.yaml fit the schemas of their readers")
END
