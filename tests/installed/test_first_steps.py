"""What a user does who has no checkout: install the wheel, start the lab, run, test against it, and end it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from base import paths
from base.paths import ROOT
from tests import labs
from tests.installation import installed, wheel

__all__ = ["installed", "wheel"]
COMMAND_S = 1500  # with the images' build, on a machine that has none
pytestmark = pytest.mark.timeout(COMMAND_S + 300)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def as_user(installed: Path, tmp_path: Path) -> Iterator[Run]:
    """Run a program in an empty folder as a user with the installation, and a home of their own."""
    place, cache = tmp_path / "place", tmp_path / "cache"
    place.mkdir()
    cache.mkdir()
    (cache / "emrlab").symlink_to(paths.CACHE)  # models and jars: they are large
    own = labs.variables() | {"PYTHONPATH": str(installed)}
    own |= {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path)}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *args]
        ran = subprocess.run(
            command, cwd=place, env=os.environ | own, capture_output=True, text=True, check=False, timeout=COMMAND_S
        )
        assert ran.returncode == 0, f"{' '.join(args)}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
        return ran

    yield run
    run("emrlab", "clean")


def test_the_lab_of_an_installation_runs_the_sample_and_leaves_nothing(as_user, tmp_path):
    up = as_user("emrlab", "up")
    assert re.search(r"minio +RELEASE", up.stdout)
    assert "AWS_ENDPOINT_URL_S3=http://127.0.0.1:" in as_user("emrlab", "env").stdout
    ran = as_user("emrlab", "demo", "--target", "lab")
    assert "240 extracted" in ran.stdout
    assert (tmp_path / "place" / "out" / "demo" / "report.html").exists()
    assert "emrlab clean" in as_user("emrlab", "down").stdout
    assert {path.name for path in (tmp_path / "place").iterdir()} == {"out"}
    keys = tmp_path / "state" / "emrlab" / "lab" / ".env"
    assert keys.stat().st_mode & 0o777 == 0o600


def test_a_first_job_runs_here_and_in_the_lab_and_so_does_its_test(as_user, tmp_path):
    as_user("emrlab", "init")
    counts = tmp_path / "place" / "out" / "counts"
    as_user("emrlab", "run")
    here = {path.name.split("-")[0]: path.read_text() for path in counts.glob("*.csv")}
    assert "woodchuck,5" in here["part"]
    shutil.rmtree(counts)
    as_user("emrlab", "up")
    as_user("emrlab", "run", "--target", "lab")
    assert {path.name.split("-")[0]: path.read_text() for path in counts.glob("*.csv")} == here
    as_user("emrlab", "down")
    assert "2 passed" in as_user("pytest", "-q", "--emrlab", "-p", "no:cacheprovider").stdout


def test_the_examples_of_the_fixtures_page_hold(as_user, tmp_path):
    page = (ROOT / "docs" / "fixture.md").read_text()
    for name, example in re.findall(r"```python\n# (test_\w+\.py)\n(.*?)```", page, re.DOTALL):
        (tmp_path / "place" / name).write_text(example)
    ran = as_user("pytest", "-q", "--emrlab", "-p", "no:cacheprovider")
    assert "4 passed" in ran.stdout
    assert not list(tmp_path.glob("emrlab-*"))
