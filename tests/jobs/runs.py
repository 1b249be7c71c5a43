"""Runs a job of the catalogue on a target, by the command that a user would type; keeps what was seen for the docs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from base.paths import ROOT
from tests.jobs.catalogue import JOBS, NOT_RUN, TARGETS, Example

SEEN = Path(__file__).parent / "seen.json"
PAGE = ROOT / "docs" / "jobs.md"
RUN_S = 540
COMMANDS = {
    "local": ["run", "--target", "local"],
    "lab": ["run", "--target", "lab"],
    "emr-lab": ["emr-run", "--target", "emr-lab", "--bucket", "emrlab", "--yes"],
}


@dataclass(frozen=True)
class Ran:
    """What a run came to: its exit code, what of its output is compared, and all that it said."""

    exit_code: int
    output: list[str]
    text: str


def run(example: Example, target: str, folder: Path) -> Ran:
    """Make the job's folder anew and run it."""
    job = example.write(folder, target)
    command = [sys.executable, "-m", "launch", *COMMANDS[target], str(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=RUN_S)
    text = done.stdout + done.stderr
    if example.said:
        return Ran(done.returncode, example.said(done.stdout), text)
    parts = sorted((job / "output").rglob("part-*"))
    return Ran(done.returncode, sorted(line for part in parts for line in part.read_text().splitlines()), text)


def seen() -> dict[str, list[str]]:
    """Targets by the job's name, on which it gave the same output as here."""
    found: dict[str, list[str]] = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    return found


def note(name: str, target: str, *, same: bool) -> None:
    """Write down what was seen."""
    found = seen()
    targets = set(found.get(name, [])) - {target} | ({target} if same else set())
    found = {each.name: found.get(each.name, []) for each in JOBS} | {name: [t for t in TARGETS if t in targets]}
    SEEN.write_text(json.dumps(found, indent=2) + "\n")


def table() -> str:
    """The table of the docs: which ran where, and what the others lack."""
    rows = ["| job | from | needs | " + " | ".join(f"`{target}`" for target in TARGETS) + " |"]
    rows.append("|---" * (3 + len(TARGETS)) + "|")
    found = seen()
    for each in JOBS:
        needs = ", ".join(f"`{need}`" for need in (*each.requirements, *each.packages))
        marks = " | ".join("same" if target in found.get(each.name, []) else "not seen" for target in TARGETS)
        end = f", ends with {each.exit_code}" if each.exit_code else ""
        rows.append(f"| `{each.name}`{end} | {each.origin} | {needs} | {marks} |")
    rows += ["", "| not run | why |", "|---|---|", *(f"| {name} | {why} |" for name, why in NOT_RUN.items())]
    return "".join(f"{row}\n" for row in rows)


def publish() -> None:
    """Draw the table in the docs anew."""
    start, end = "<!-- drawn from tests/jobs/seen.json by make test-jobs -->\n", "<!-- end -->"
    before, _, rest = PAGE.read_text().partition(start)
    PAGE.write_text(before + start + table() + end + rest.partition(end)[2])
