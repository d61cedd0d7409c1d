#!/usr/bin/env bash
# Makes requirements/*.lock again from pyproject.toml: hashes only, no registry named, for
# Python 3.11 and later. `tools/lock.sh --upgrade` takes newer versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=$(command -v uv) || {
    echo "uv is not installed; run: .venv/bin/python -m pip install uv" >&2
    exit 3
}

compile() {
    local lock=$1
    shift
    "$uv" pip compile pyproject.toml "$@" \
        --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --quiet \
        --custom-compile-command "make lock" --output-file "$lock" >/dev/null
    echo "$lock: $(grep -c == "$lock") packages"
}

compile requirements/runtime.lock --extra demo --group build "$@"
# dev.lock holds all of runtime.lock at the same versions, so either can be installed alone.
compile requirements/dev.lock --extra demo --extra ansible --extra sso --group dev --constraint requirements/runtime.lock "$@"
