#!/usr/bin/env bash
# Everything that must hold: style, types, tests; does its own set-up.
#   bash scripts/test.sh [--e2e] [options of pytest]
# --e2e adds the tests that need a browser and a PACS, and runs all tests in a network of their own, so that nothing
# that listens can be reached from outside. As root on Debian it installs what they need (about 1 minute).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'test: %s\n' "$*" >&2; }

install_system_packages() {
    local wanted=(chromium iproute2 nginx-light nodejs orthanc orthanc-dicomweb) missing=() package
    command -v dpkg-query >/dev/null && [ "$(id -u)" = 0 ] || return 0
    for package in "${wanted[@]}"; do
        # another Node than Debian's will do
        if [ "$package" = nodejs ] && command -v node >/dev/null; then continue; fi
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]} with apt-get (about 1 minute; once)"
    # These are for the tests to start, and listen on all addresses: they must not become services of this machine.
    for package in orthanc nginx; do
        if [ -d /run/systemd/system ] && [[ " ${missing[*]} " = *" $package"* ]]; then
            systemctl --quiet mask $package.service && say "the service $package is masked (systemctl unmask $package)"
        fi
    done
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}"; } >/dev/null || say "that failed: the tests that need them skip"
}

own_network() { # how to run a command in a network of its own; nothing where that is not permitted
    local unshare=(unshare --net)
    [ "$(id -u)" = 0 ] || unshare+=(--map-root-user)
    if "${unshare[@]}" ip link set lo up 2>/dev/null; then
        printf '%s\n' "${unshare[@]}" bash -c 'ip link set lo up && exec "$@"' bash
    else
        say "a network namespace is not permitted here: the tests that need one skip"
    fi
}

select=(-m "not e2e")
inside=()
if [ "${1:-}" = --e2e ]; then
    shift
    select=()
    install_system_packages
    mapfile -t inside < <(own_network)
fi

bash scripts/setup.sh --dev
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
# Side by side, each file of tests in one process; two may need 8 GB of memory, and a core each.
workers=$(($(nproc) < 2 ? 1 : 2))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) / workers))}
exec ${inside[@]+"${inside[@]}"} python -m pytest -n $workers --no-loadscope-reorder ${select[@]+"${select[@]}"} "$@"
