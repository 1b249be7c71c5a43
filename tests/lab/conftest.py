"""A lab of the session's own, photographs and a model for it, and one run in it that many tests look at."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launch import docker_lab
from pipeline import store
from tests import labs, networks, pictures
from tests.lab import commands

UP_S = 1500  # with the images' build, on a machine that has none
ODD = ("a b.jpg", "é ü.jpg", "a+b.jpg", "100%.jpg", "a%20b.jpg", "c#d.jpg", "q?.jpg", "\U0001f34b.jpg", "[x]*.jpg")
CLASSES, VIEWS = 3, 380
LISTED, REJECTED = CLASSES * VIEWS + len(ODD) + 1, 1


def pytest_collection_modifyitems(items):
    """The first test's time has the lab's start in it; everything in here that waits has a deadline of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(UP_S + 300))


@pytest.fixture(scope="session")
def lab(request) -> Iterator[None]:
    """Up under a name of its own, on ports that were free; gone with its volumes at the end."""
    with labs.project(request.session):
        labs.said([sys.executable, "-m", "lab", "up"], timeout_s=UP_S)
        yield


@pytest.fixture(autouse=True)
def results_of_the_lab(lab, monkeypatch) -> None:
    """What tests/contract.py reads is in the lab, by the laptop's key. A container that starts may get another port."""
    found = docker_lab.find()
    access = docker_lab.access(found)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": found.s3,
        "AWS_ACCESS_KEY_ID": access.key().key_id,
        "AWS_SECRET_ACCESS_KEY": access.key().secret,
        "AWS_REGION": access.region,
    }.items():
        monkeypatch.setenv(name, value)
    store.open_store.cache_clear()


@pytest.fixture(scope="session")
def model() -> list[str]:
    """Flags for a model that takes some 10 ms an image: there is time to disturb its run; 24 features."""
    path = networks.save("slow", seed=12, hidden=[(64, 3, 1)] * 4, size=32, features=24)
    return ["--model", str(path), "--image-size", "32"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """More than a thousand photographs, some with odd names, one that is none, and a file that does not claim to be."""
    folder = tmp_path_factory.mktemp("photos") / "the photos"
    pictures.write_set(folder, classes=CLASSES, views=VIEWS)
    for name in ODD:
        (folder / "Class 0" / name).write_bytes(pictures.encode(pictures.pixels(len(name))))
    (folder / "Class 1" / "bad.jpg").write_bytes(b"no image")
    (folder / "Class 1" / "Thumbs.db").write_bytes(b"x")
    return folder


@dataclass(frozen=True)
class Run:
    """A run that was left alone: its results in the lab (s3://bucket/prefix) and here, what it said, its page on its
    environment."""

    output: str
    prefix: str
    folder: Path
    out: str
    error: str
    environment: str


@pytest.fixture(scope="session")
def undisturbed(lab, photos, model, tmp_path_factory) -> Run:
    """The photographs' first run in the lab."""
    folder = tmp_path_factory.mktemp("out") / "undisturbed"
    job = commands.start_run(str(photos), str(folder), *model)
    environment = ""
    page = commands.application_page()
    while job.poll() is None and "spark.executor.memory" not in environment:
        time.sleep(0.5)
        environment = commands.ask(page, "/environment/")
    done = commands.end_of(job)
    assert done.returncode == 0, done.stdout + done.stderr
    prefix = commands.results(folder)
    return Run(f"s3://{commands.BUCKET}/{prefix}", prefix, folder, done.stdout, done.stderr, environment)
