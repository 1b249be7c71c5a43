"""Pictures that would take gigabytes, among good ones, on executors of 2 GiB that the kernel holds to it."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests import bombs, contract, pictures
from tests.lab import commands

WORKERS = ("worker-1", "worker-2")
EXECUTOR = ("spark.executor.memory=1g", "spark.executor.memoryOverhead=1g", "spark.executor.cores=1")
# Standalone mode ignores the overhead, so that the containers are the limit: an executor, and Spark's worker itself.
LIMIT_MB = 2048 + 512


@pytest.fixture
def small_workers(lab):
    """The workers' containers with that much memory, and no swap, for one test."""
    found = {service: commands.inspect()[service] for service in WORKERS}
    for each in found.values():
        limit_memory(each["Id"], LIMIT_MB * 2**20)
    yield
    for each in found.values():
        limit_memory(each["Id"], each["HostConfig"]["Memory"])


def limit_memory(container: str, limit_b: int) -> None:
    command = ["docker", "update", "--memory", str(limit_b), "--memory-swap", str(limit_b), container]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def killed(service: str) -> int:
    """How many processes of the container the kernel ended because memory ran out, by its control group (2 or 1)."""
    files = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
    text = commands.execute(service, "sh", "-c", f"cat {files} 2>/dev/null || true")
    return int(re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE)[0])


def test_bombs_cost_no_executor_and_no_photograph(small_workers, model, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "RUN_S", 900)  # the bombs that decode are many megapixels
    photos, decoded = tmp_path / "hostile", 7 * 4
    pictures.write_set(photos, classes=3, views=12)
    bombs.write_all(photos / "Class 1", count=64)
    before = [killed(service) for service in WORKERS]
    conf = [flag for setting in EXECUTOR for flag in ("--conf", setting)]
    done = commands.run(str(photos), str(tmp_path / "out"), *model, *conf, "--max-rejected", "64", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    contract.check(f"s3://emrlab/{commands.results(tmp_path / 'out')}", listed=36 + 64, rejected=64 - decoded)
    assert "Lost executor" not in done.stderr
    assert [killed(service) for service in WORKERS] == before
