"""The versions on a node, as the programs themselves print them."""

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
    """Return the versions of spark, scala, hadoop, python and java; "" where a program prints none.

    Args:
        environment: of the programs.
        hadoop: the folder with the daemons' `jars/`.

    Raises:
        OSError, subprocess.TimeoutExpired: a program is not there, or does not answer.
    """
    programs = {
        "spark": ["spark-submit", "--version"],
        "hadoop": ["java", "-cp", f"{hadoop}/jars/*", "org.apache.hadoop.util.VersionInfo"],
        "python": ["/usr/bin/python3", "--version"],
        "java": ["java", "-version"],
    }

    def printed(command: Sequence[str]) -> str:
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
        output = dict(zip(programs, pool.map(printed, programs.values()), strict=True))
    matches = {name: re.search(pattern, output[program]) for name, (program, pattern) in _PATTERNS.items()}
    return {name: match[1] if match else "" for name, match in matches.items()}
