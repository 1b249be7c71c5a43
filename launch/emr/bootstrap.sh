#!/bin/bash
# The bootstrap action: installs the job's Python packages to /opt/emrlab on a node, from the bucket alone.
#
#     bootstrap.sh s3://BUCKET/…/wheelhouse-….tar SHA256 PYTHON_VERSION [MODULE …]
#
# Runs as the user hadoop on every node, before EMR installs its applications. It wants `aws s3 cp` (on EMR's AMI) and
# that Python with venv; Amazon Linux brings the latter by dnf, whose repositories are reached through S3. A node that
# has these packages is left alone; one that has others gets these in their place. At the end the modules are imported:
# a node whose libraries do not do for them fails here, and not in the middle of the job.
set -euo pipefail

readonly wheelhouse=$1 sha256=$2 python=python$3
shift 3
readonly venv=/opt/emrlab
readonly mark=$venv/wheelhouse.sha256

# EMR shows the last line of stderr of the node's bootstrap action.
fail() {
    echo "emrlab: $1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if [ "$(cat "$mark" 2>/dev/null)" = "$sha256" ]; then
    echo "emrlab: $venv is there already"
    exit 0
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    command -v dnf >/dev/null || fail "$python with venv is missing on this node, and there is no dnf to install it"
    as_root dnf install -y -q "$python" "$python-pip" >&2 || fail "dnf install $python failed; it says why above"
fi
if [ ! -w "$venv" ]; then
    { as_root mkdir -p "$venv" && as_root chown "$(id -un)" "$venv"; } || fail "$venv cannot be made on this node"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
aws s3 cp --only-show-errors "$wheelhouse" "$work/wheelhouse.tar" ||
    fail "$wheelhouse cannot be fetched; the node's role needs s3:GetObject on it"
echo "$sha256  $work/wheelhouse.tar" | sha256sum --check --status ||
    fail "$wheelhouse is not the file that was uploaded: its sha256 is not $sha256"
mkdir "$work/wheels"
tar -xf "$work/wheelhouse.tar" -C "$work/wheels"

# pip compiles what it installs, so that Spark's Python workers need not, each for itself.
"$python" -m venv --clear "$venv" || fail "$python -m venv failed; it says why above"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-index \
    --require-hashes --find-links "$work/wheels" --requirement "$work/wheels/requirements.txt" ||
    fail "the packages cannot be installed to $venv; pip says why above"
for module in "$@"; do
    said=$("$venv/bin/python" -c "import $module" 2>&1) ||
        fail "the packages cannot be used on this node: import $module: ${said##*$'\n'}"
done
# Whatever the umask: YARN's containers run as another user.
chmod -R a+rX "$venv"
echo "$sha256" >"$mark"
echo "emrlab: $venv is ready: $("$venv/bin/python" -m pip list --format freeze --disable-pip-version-check | wc -l) packages"
