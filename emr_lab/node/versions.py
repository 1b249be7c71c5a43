"""Which versions are on a node, asked of the programs themselves."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIMEOUT_S = 60.0
# Where a version stands in what which program says.
_PATTERNS = {
    "spark": ("spark", r"version ([0-9][\w.-]*)"),
    "scala": ("spark", r"Scala version ([0-9][\w.]*)"),
    "hadoop": ("hadoop", r"Hadoop ([0-9][\w.-]*)"),
    "python": ("python", r"Python ([0-9][\w.]*)"),
    "java": ("java", r'version "([^"]*)"'),
}


def installed(environment: Mapping[str, str], *, hadoop: Path) -> dict[str, str]:
    """The versions of spark, scala, hadoop (the daemons' jars in `hadoop`), python and java; empty for none told.

    Raises:
        OSError, subprocess.TimeoutExpired: a program is not there, or does not answer.
    """
    programs = {
        "spark": ["spark-submit", "--version"],
        "hadoop": ["java", "-cp", f"{hadoop}/jars/*", "org.apache.hadoop.util.VersionInfo"],
        "python": ["/usr/bin/python3", "--version"],
        "java": ["java", "-version"],
    }

    def say(command: Sequence[str]) -> str:
        ran = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return ran.stdout

    with ThreadPoolExecutor() as pool:
        said = dict(zip(programs, pool.map(say, programs.values()), strict=True))
    found = {name: re.search(pattern, said[program]) for name, (program, pattern) in _PATTERNS.items()}
    return {name: match[1] if match else "" for name, match in found.items()}
