"""The machine that a figure was measured on: what every page says beside its figures."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What int8 gains by, and float32, as /proc/cpuinfo names them.
VECTOR_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


def describe() -> dict[str, Any]:
    """Date, processor, cores, architecture, vector instructions and Python, for the JSON of a bench."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "vector_flags": vector_flags(),
        "python": platform.python_version(),
    }


def words(machine: dict[str, Any]) -> str:
    """The same as a page says it."""
    return f"{machine['cores']} cores, {machine['architecture']} ({machine['processor']}), Python {machine['python']}"


def processor() -> str:
    """The name that the processor gives itself, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = subprocess.run(
            ["sysctl", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout.splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "machdep")))
    return next(names, platform.machine())


def vector_flags() -> list[str]:
    """Those of VECTOR_FLAGS that the processor has; none where there is no /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [flag for flag in VECTOR_FLAGS if flag in flags]
