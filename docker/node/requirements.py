"""Prints what the job needs of requirements.lock, with hashes: `dependencies` of pyproject.toml and what those pull in.

`python3 requirements.py requirements.lock`. The comments of the lock say which package came in by which.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# As the lock calls what stands in pyproject.toml's `dependencies`; its groups have a colon and their name behind it.
ROOT = "emrlab (pyproject.toml)"


def runtime(lock: str) -> str:
    """The entries of the text `lock` that `dependencies` lead to, in its form."""
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)[1:]
    # One package has several entries where its version differs between Pythons.
    names = [re.split("[=<>@ ]", entry, maxsplit=1)[0] for entry in entries]
    reasons = [
        {line.removeprefix("via ").strip() for line in re.findall(r"^ +# +(.+)$", entry, flags=re.M)}
        for entry in entries
    ]
    needed = {ROOT}
    while more := {name for name, via in zip(names, reasons, strict=True) if via & needed} - needed:
        needed |= more
    return "".join(entry for name, entry in zip(names, entries, strict=True) if name in needed)


if __name__ == "__main__":
    sys.stdout.write(runtime(Path(sys.argv[1]).read_text()))
