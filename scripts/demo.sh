#!/usr/bin/env bash
# See it work on the bundled CT; does its own set-up.
#   bash scripts/demo.sh [--model NAME] [--output FOLDER]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

bash "$root/scripts/setup.sh"
exec "$root/.venv/bin/python" "$root/scripts/demo.py" "$@"
