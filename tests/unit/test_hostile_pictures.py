"""Pictures that would take gigabytes, among good ones: one worker of bounded memory, and the whole job in such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from base.paths import ROOT
from pipeline import results
from pipeline.decoding import BUDGET
from tests import bombs, contract, pictures

# These decode: they are large, and fit the budget alone.
DECODES = ("rgba.png", "deep.png", "palette.png", "one.webp", "coefficients.jpg", "huge.jpg", "some-texts.png")

WORKER = """
import resource, sys
from pipeline import images, loading
listed = list(images.list_images(sys.argv[1], images.ListingSummary()))
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
mib = 1024 if sys.platform == "linux" else 2**20  # the unit of ru_maxrss
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // mib
for outcome in loading.load(listed, sys.argv[1], size=224):
    print(outcome.image.path, getattr(outcome, "error", "decoded"), sep="\\t")
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // mib - before, sep="\\t")
"""


@pytest.fixture
def photos(tmp_path):
    """Three classes of good photographs, 64 bombs among them."""
    pictures.write_set(tmp_path / "photos", classes=3, views=12)
    bombs.write_all(tmp_path / "photos" / "Class 1")
    return tmp_path / "photos"


def is_good(path: str) -> bool:
    return not Path(path).name.startswith("bomb") or path.endswith(DECODES)


def test_eight_threads_among_bombs_stay_within_the_budget(photos):
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(photos)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=500
    )
    *lines, peak = [line.split("\t") for line in done.stdout.splitlines()]
    outcomes = dict(lines)
    assert len(outcomes) == 36 + 64
    assert {path for path, error in outcomes.items() if error == "decoded"} == {*filter(is_good, outcomes)}
    assert set(outcomes.values()) == {"decoded", "TooLarge", "OSError"}
    assert int(peak[1]) < BUDGET.total_b // 2**20 + 128


def test_a_job_whose_workers_are_bounded_loses_no_photograph(photos, keras_file, tmp_path):
    command = [sys.executable, "-m", "launch", "run", "--input", str(photos), "--output", str(tmp_path / "out")]
    command += ["--model", str(keras_file), "--image-size", "32", "--max-rejected", "64"]
    command += ["--conf", "spark.executor.pyspark.memory=2g"]  # of each worker's addresses, by setrlimit
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    bad = [path for path in (str(each.relative_to(photos)) for each in photos.glob("*/*")) if not is_good(path)]
    tables = contract.check(str(tmp_path / "out"), listed=36 + 64, rejected=len(bad))
    assert set(tables.rejected["path"]) == set(bad)
    assert not results.parquet_files(f"{tmp_path}/out/{results.INCOMPLETE}")
