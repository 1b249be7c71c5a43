"""Tests of the lab on what `make test-lab` does not have: `make test-releases`, `make test-s3-servers`.

`python -m tests.lab.variants RELEASE` runs the parity tests on every other release of releases.toml, `… S3_SERVER`
those and the tests of rights on every other server of docker/s3. The variable is the one that `make up` heeds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping

from base import releases
from base.paths import ROOT

PARITY, SECURITY = "tests/lab/test_parity.py", "tests/lab/test_security.py"


def other_releases() -> list[str]:
    """The labels of releases.toml but its default."""
    return [label for label in releases.labels() if label != releases.find().label]


def s3_servers() -> list[str]:
    """The servers that docker/s3 builds but MinIO."""
    dockerfile = (ROOT / "docker" / "s3" / "Dockerfile").read_text()
    return [name for name in re.findall(r"^ENV S3_SERVER=(\S+)", dockerfile, flags=re.M) if name != "minio"]


VARIANTS: Mapping[str, tuple[list[str], list[str]]] = {
    "RELEASE": (other_releases(), [PARITY]),
    "S3_SERVER": (s3_servers(), [PARITY, SECURITY]),
}


def main(variable: str) -> int:
    """Run the tests with each value of `variable`, whatever one comes to; exit code 1 where one fails."""
    values, paths = VARIANTS[variable]
    failed = []
    for value in values:
        sys.stdout.write(f"== {value}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", "pytest", *paths]
        ran = subprocess.run(command, cwd=ROOT, env=os.environ | {variable: value}, check=False)
        failed += [value] * bool(ran.returncode)
    if failed:
        sys.stderr.write(f"error: {', '.join(failed)}: see above\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
