#!/usr/bin/env bash
# Makes .venv from the hashed lock files, and then has opsloop install what the machine lacks.
#
#   tools/setup.sh runtime   what runs the stack and the demo
#   tools/setup.sh dev       and what tests and checks need
#   tools/setup.sh browser   Chromium, for the tests that look at the console's pages
#   tools/setup.sh system    Prometheus, Alertmanager, exporters, PostgreSQL (opsloop doctor)
#
# Words can be combined and are done in order. Nothing is done twice: a stamp, written last,
# says what .venv was made from. Runs beside each other wait for each other. PYTHON=... names
# another interpreter (3.11 or later).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

# Settings of a person's own pip or Python that would put packages elsewhere or change a build.
unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_HASHES PIP_NO_DEPS

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 3
}

# One setup at a time; the lock goes with the process, so a killed one blocks nobody.
take_lock() {
    exec 9>.setup.lock || fail "this folder cannot be written to; clone it to where you may write"
    flock -n 9 && return
    say "another setup runs in this folder; waiting for it"
    flock 9
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The first interpreter that is 3.11 or later: PYTHON, the machine's default, then by version.
find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Installs Debian packages when root, else ends with the exact line.
apt_install() {
    local line="apt-get install -y --no-install-recommends $*" said=
    command -v apt-get >/dev/null || fail "$* must be installed, and this machine has no apt-get"
    [ "$(id -u)" = 0 ] || fail "$* must be installed; run: sudo $line; then run this again"
    say "installing $*"
    apt_quietly "$@" || fail "$line failed: $said"
}

# Installs as root; what apt said is in `said`.
apt_quietly() {
    local options=(-y -qq --no-install-recommends -o DPkg::Lock::Timeout=300)
    export DEBIAN_FRONTEND=noninteractive
    # 9>&-: what apt starts must not hold our lock. The package lists may be missing (a fresh
    # image) or old, so a failure is met by reading them.
    said=$(apt-get install "${options[@]}" "$@" 2>&1 9>&-) ||
        said=$(apt-get update -qq -o DPkg::Lock::Timeout=300 2>&1 9>&- &&
            apt-get install "${options[@]}" "$@" 2>&1 9>&-)
}

make_venv() {
    local python
    if ! python=$(find_python); then
        [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not Python 3.11 or later"
        command -v python3 >/dev/null && fail "python3 is $(python3 -V 2>&1); Python 3.11 or later \
is needed; install one (on Ubuntu: sudo apt-get install python3.11 python3.11-venv)"
        apt_install python3 python3-venv
        python=$(find_python) || fail "the python3 of this machine is older than 3.11"
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        local version
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        # Debian leaves ensurepip out of python3; its own package brings it.
        apt_install "python$version-venv"
    fi
    say "making .venv with $("$python" -V)"
    touch .setup.unfinished
    "$python" -m venv --clear .venv || fail "$python could not make .venv; see above"
}

venv_works() {
    # Scripts in .venv name its folder, so a folder that was moved or copied needs a new one.
    [ ! -e .setup.unfinished ] && is_new_enough .venv/bin/python &&
        { [ ! -e .venv/.folder ] || [ "$(cat .venv/.folder)" = "$PWD" ]; } &&
        .venv/bin/python -c 'import pip' 2>/dev/null
}

# What .venv is made from, as one line.
fingerprint() { sha256sum pyproject.toml "requirements/$1.lock" | sha256sum | cut -d' ' -f1; }

is_stamped() { [ "$(cat ".venv/.$1.stamp" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

install_lock() {
    local kind=$1 stamp=.venv/.$1.stamp
    # dev.lock holds all of runtime.lock.
    if venv_works && { is_stamped "$kind" || is_stamped dev; }; then return; fi
    venv_works || make_venv
    local started=$SECONDS
    say "installing $(grep -c == "requirements/$kind.lock") packages of requirements/$kind.lock"
    # Whatever ends pip half-way leaves this mark, and the next run starts with a new .venv.
    touch .setup.unfinished
    echo "$PWD" >.venv/.folder
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input --quiet install)
    "${pip[@]}" --require-hashes --requirement "requirements/$kind.lock" &&
        "${pip[@]}" --no-deps --no-build-isolation --editable . || {
        # 1 and 2 are pip's own: it has put back what it began. Anything else ended it half-way.
        [ $? -gt 2 ] || rm .setup.unfinished
        fail "pip could not install requirements/$kind.lock; see above, then run this again"
    }
    fingerprint "$kind" >"$stamp.new"
    rm .setup.unfinished
    mv "$stamp.new" "$stamp"
    say "done in $((SECONDS - started)) s"
}

has_browser() {
    command -v chromium >/dev/null || .venv/bin/python -m tools.chromium >/dev/null 2>&1
}

# Chromium from Debian as root, else playwright's own. Only tests want it, and they are skipped,
# with the reason, without one: that it cannot be had stops nothing, and is tried once per .venv.
install_browser() {
    local tried=.venv/.browser.tried said=
    if has_browser || [ -e "$tried" ]; then return; fi
    touch "$tried"
    say "installing a Chromium for the browser tests"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt_quietly chromium && return
        say "apt-get could not install chromium: ${said##*$'\n'}"
    fi
    timeout 60 .venv/bin/python -m playwright install chromium >/dev/null 2>&1 9>&- &&
        has_browser && return
    say "no Chromium could be had, so the browser tests are skipped; to run them, install the" \
        "package chromium"
}

[ $# -gt 0 ] || fail "say what to set up: runtime, dev, browser, system"
take_lock
for word in "$@"; do
    case $word in
        runtime | dev) install_lock "$word" ;;
        browser) install_browser ;;
        system) .venv/bin/opsloop doctor --install 9>&- ;;
        *) fail "$word is not runtime, dev, browser or system" ;;
    esac
done
