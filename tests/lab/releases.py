"""The parity tests on every other release than the default, which `make test-lab` has: `make test-releases`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

from tests.lab import commands

PARITY = commands.ROOT / "tests" / "lab" / "test_parity.py"


def main() -> int:
    """Run them all, whatever one comes to; exit code 1 where one fails."""
    table = tomllib.loads((commands.ROOT / "releases.toml").read_text())
    default = table.pop("default")
    failed = []
    for label in table:
        if label != default:
            sys.stdout.write(f"== {label}\n")
            sys.stdout.flush()
            ran = subprocess.run(
                [sys.executable, "-m", "pytest", str(PARITY)],
                cwd=commands.ROOT,
                env=os.environ | {"RELEASE": label},
                check=False,
            )
            failed += [label] * bool(ran.returncode)
    if failed:
        sys.stderr.write(f"error: {', '.join(failed)}: see above\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
