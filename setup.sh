#!/bin/sh
# Sets up everything that a run needs: Python packages in .venv, Java 17, the archive that speeds up Spark's start.
# Every step that is done is left alone. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "error: $1" >&2
    exit 2
}

# apt_install PACKAGE WHAT: where this user may; elsewhere one line says what to do.
apt_install() {
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        as=""
    elif command -v apt-get >/dev/null && command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as="sudo"
    elif command -v brew >/dev/null; then
        fail "$2 is missing; install it: brew install $3"
    else
        fail "$2 is missing and this user may not install it; run: apt-get install $1"
    fi
    echo "installing $1"
    { $as apt-get -qq update && $as env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$1"; } \
        >.cache/apt.log 2>&1 || fail "apt-get install $1 failed: $(tail -n 1 .cache/apt.log); .cache/apt.log has the rest"
}

has_version() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if has_version "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.13${PYTHON:+ at $PYTHON}; install python3.11, or name one: make setup PYTHON=/path/to/python"
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" "Python's venv" python
    fi
    "$python" -m venv .venv
    echo "installing the Python packages into .venv (1 GB to fetch, a few minutes the first time)"
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock ||
        fail "the Python packages cannot be installed; pip says why above"
    cp requirements.lock .venv/requirements.lock
}

mkdir -p .cache
cmp -s requirements.lock .venv/requirements.lock || make_venv
# /usr/bin/java on macOS is a stub without a Java behind it: only one that answers counts.
[ -n "${JAVA_HOME:-}" ] || java -version >/dev/null 2>&1 || /usr/libexec/java_home -v 17 >/dev/null 2>&1 ||
    apt_install openjdk-17-jre-headless "Java 17" openjdk@17
exec .venv/bin/python -m launch setup
