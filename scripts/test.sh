#!/usr/bin/env bash
# Everything that must hold: style, types, tests; does its own set-up.
#   bash scripts/test.sh [--e2e] [options of pytest]
# --e2e adds the tests that need a browser and a PACS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

select=(-m "not e2e")
if [ "${1:-}" = --e2e ]; then
    select=()
    shift
fi

bash scripts/setup.sh --dev
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
exec python -m pytest ${select[@]+"${select[@]}"} "$@"
