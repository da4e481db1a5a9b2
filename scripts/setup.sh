#!/usr/bin/env bash
# Makes the environment in .venv, or does nothing when it is already as the requirement files say.
#   bash scripts/setup.sh          what the app needs
#   bash scripts/setup.sh --dev    with the tools of scripts/test.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

case "${1:-}" in
    "") stamp=.venv/.installed files=(requirements.txt) ;;
    --dev) stamp=.venv/.installed-dev files=(requirements.txt requirements-dev.txt) ;;
    *) fail "unknown option '$1'; the only one is --dev" ;;
esac

usable() { # usable PYTHON: version 3.11 or 3.12, able to make environments
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local name
    for name in python3.11 python3.12 python3; do
        if command -v "$name" >/dev/null && usable "$name"; then command -v "$name"; return; fi
    done
    return 1
}

install_python() { # from the distribution, where this user may do that
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "no usable Python found: installing python3 and python3-venv with apt-get (about 1 minute)"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv) >/dev/null
}

wanted() { # what the stamp holds when nothing is to be done: requirement files, place, interpreter
    { cat constraints.txt "${files[@]}" pyproject.toml; pwd; .venv/bin/python -V; } 2>&1 | cksum
}

make_environment() {
    local python
    python=$(find_python) || { install_python && python=$(find_python); } ||
        fail "Python 3.11 or 3.12 with its venv module is needed and was not found." \
            "On Debian 12 or Ubuntu 24.04: sudo apt-get install python3 python3-venv. Then run this command again."
    say "making the environment in .venv with $("$python" -V) (about 4 minutes and 8 GB; once)"
    "$python" -m venv --clear .venv
}

install_packages() {
    local pip=(.venv/bin/python -m pip install --quiet --quiet --no-input --constraint constraints.txt)
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
    # sam2 is built here. Without isolation it is built against the torch just installed, instead of
    # downloading another one for the build; its optional CUDA extension is not used.
    export SAM2_BUILD_CUDA=0
    say "1/3 PyTorch"
    "${pip[@]}" setuptools wheel torch torchvision || return 1
    say "2/3 MONAI Label, SAM 2 and the rest"
    "${pip[@]}" --no-build-isolation "${files[@]/#/--requirement=}" || return 1
    say "3/3 this project"
    "${pip[@]}" --no-deps --no-build-isolation --editable .
}

# One set-up at a time in a checkout; a second one waits and then finds everything done.
exec 9<constraints.txt
if command -v flock >/dev/null; then flock 9; fi

if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; then exit 0; fi
# An environment that was moved or copied here (its commands name the old place), or whose Python is gone,
# cannot be repaired: make it anew.
if ! { usable .venv/bin/python && grep -qsF "$(pwd -P)/.venv/" .venv/bin/pip; }; then make_environment; fi
install_packages ||
    fail "installing failed; the reason is above. Without internet, point pip at your own mirror" \
        "(PIP_INDEX_URL or PIP_FIND_LINKS) and run this command again: it goes on where it stopped."
wanted >"$stamp.new" && mv "$stamp.new" "$stamp"
say "done"
