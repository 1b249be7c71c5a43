#!/bin/sh
# Sets up everything that a run needs: Java 17, Python packages in .venv, the archive that speeds up Spark's start.
# Every step that is done is left alone. PYTHON names another interpreter: make setup PYTHON=/path/to/python
set -eu
cd "$(dirname "$0")"

fail() {
    echo "error: $1" >&2
    exit 2
}

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 on PATH; install one, or say where it is: make setup PYTHON=/path/to/python"
}

# /usr/bin/java on macOS is a stub without a Java behind it: only one that answers counts.
has_java() {
    [ -n "${JAVA_HOME:-}" ] || java -version >/dev/null 2>&1 || /usr/libexec/java_home -v 17 >/dev/null 2>&1 ||
        [ -x /opt/homebrew/opt/openjdk@17/bin/java ] || [ -x /usr/local/opt/openjdk@17/bin/java ]
}

# Which PYTHON made .venv: one that is asked for by name replaces another.
origin() {
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
}

venv_is_ready() {
    cmp -s requirements.lock .venv/requirements.lock && [ -x .venv/bin/python ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(origin "$PYTHON")" = "$(origin .venv/bin/python)" ]
}

apt() {
    $as env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >>.cache/apt.log 2>&1
}

apt_has() {
    apt-cache show "$1" >/dev/null 2>&1
}

# apt_install PACKAGES: where this user may; elsewhere one line says what to do.
apt_install() {
    packages=$1
    if ! command -v apt-get >/dev/null; then
        # Only Debian and its kin keep venv out of Python: what is missing here is Java.
        if command -v brew >/dev/null; then fail "Java 17 is missing; run: brew install openjdk@17"; fi
        fail "missing: $packages, as Debian calls it; install it with this system's package manager"
    fi
    as=""
    may=yes
    if [ "$(id -u)" != 0 ]; then
        as="sudo -n"
        $as true 2>/dev/null || may=no
    fi
    : >.cache/apt.log
    if [ $may = yes ]; then apt update || true; fi
    # Debian 13 has no Java 17, but 21, which Spark takes as well.
    if ! apt_has openjdk-17-jre-headless && apt_has openjdk-21-jre-headless; then
        packages=$(echo "$packages" | sed s/openjdk-17/openjdk-21/)
    fi
    [ $may = yes ] || fail "packages are missing that this user may not install; run: sudo apt-get install $packages"
    echo "installing $packages"
    # shellcheck disable=SC2086 # one word a package
    apt install -y --no-install-recommends $packages ||
        fail "apt-get install $packages failed: $(tail -n 1 .cache/apt.log); .cache/apt.log has the rest"
}

# Whether there is a .venv that an editor or a user made: it would be emptied. Of ours half is there while it is begun.
is_theirs() {
    [ -e .venv ] && [ ! -e .venv/requirements.lock ] && [ ! -e .cache/venv-begun ]
}

# A .venv that another lock or Python made, or that was left half made, is made anew: what was fetched lies in uv's cache.
make_venv() {
    touch .cache/venv-begun
    echo "installing the Python packages into .venv (the first time: 1 GB to fetch, some minutes)"
    "$python" -m venv --clear .venv || fail "$python cannot make a .venv; it says why above"
    awk '/^[^ ]/ { uv = /^uv==/ } uv' requirements.lock >.cache/uv.txt
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r .cache/uv.txt ||
        fail "uv cannot be installed; pip says why above"
    # Compiled, whatever PYTHONDONTWRITEBYTECODE says: Spark's Python workers start four times as fast.
    .venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock ||
        fail "the Python packages cannot be installed; uv says why above"
    cp requirements.lock .venv/requirements.lock
    rm -f .cache/venv-begun
}

mkdir -p .cache
python=""
packages=""
if ! venv_is_ready; then
    if is_theirs; then fail ".venv is none of make setup's, which would empty it; move it away, and run again"; fi
    python=$(find_python)
    "$python" -c 'import ensurepip' 2>/dev/null ||
        packages=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
fi
has_java || packages="${packages:+$packages }openjdk-17-jre-headless"
[ -z "$packages" ] || apt_install "$packages"
[ -z "$python" ] || make_venv
ls .cache/cds/*.jsa >/dev/null 2>&1 || echo "training Spark's fast start (once, half a minute)"
exec .venv/bin/python -m launch setup
