"""A whole run over an S3 server that fails at every stage: the same results, or one line and a rerun with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Listener
from pathlib import Path

import boto3
import pytest

from base.paths import CACHE
from launch import image_job, jars, java, package, submit, targets
from pipeline import comparison, results, store
from pipeline.settings import Settings
from tests import contract, pictures
from tests.s3 import proxy as faulty
from tests.s3.proxy import Fault, Proxy

DRIVER = Path(__file__).parent / "driver.py"
BUCKET = "faults"
IMAGES = 24
KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-3"}


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code and what it said."""

    code: int
    said: str


class Driver:
    """Spark on this machine, with the driver of tests/faults/driver.py in it."""

    def __init__(self, s3: str, model: Path, log: Path) -> None:
        self.settings = Settings(input=f"s3://{BUCKET}/in", output="", model=str(model))
        with pytest.MonkeyPatch.context() as patch, Listener(("127.0.0.1", 0)) as listener:
            patch.setenv("DRIVER_PORT", str(listener.address[1]))
            for name, value in (KEY | {"AWS_ENDPOINT_URL_S3": s3}).items():
                patch.setenv(name, value)
            conf = targets.local([self.settings.input], own=targets.IMAGES)
            built = package.build(image_job.ENTRY, [image_job.PACKAGE], cache=CACHE)
            args = submit.arguments(
                DRIVER,
                archive=built.archive,
                job_args=self.settings.to_args(),
                conf=conf,
                jars=jars.s3a_jars(CACHE),
            )
            archive = java.archive_path(CACHE)
            command = java.command(args, memory="1g", archive=archive if archive.exists() else None, verbose=False)
            self.process = subprocess.Popen(
                command,
                env=java.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log.open("w"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.line = listener.accept()

    def begin(self, name: str, *args: str, most_rows: int = comparison.MOST_ROWS) -> None:
        """Begin a run to `name`, whose driver compares so many rows itself."""
        self.line.send(([*self.settings.to_args(), "--output", where(name), *args], most_rows))

    def end(self) -> Ended:
        """Wait for its end."""
        return Ended(*self.line.recv())

    def kill(self) -> None:
        """End it as a power cut would, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def where(name: str) -> str:
    return f"s3://{BUCKET}/out/{name}"


# The first request of each kind that a stage makes, by the job's own client and by Spark's.
STAGES = {
    "own the output": ("^PUT .*owner.json",),
    "list": ("^GET .*list-type=2&prefix=in/", "^PUT .*/listing/00000"),
    "find known": ("^GET .*prefix=.*_incomplete/features/",),
    "extract": (
        "^PUT .*/rejected/",
        "^GET .*/listing/00000",
        "^GET .*/in/Class 1/0_0",
        "^PUT .*_incomplete/features/",
    ),
    "reduce": (
        "^GET .*_incomplete/features/.*parquet",
        "^PUT .*/sums/0",
        "^GET .*/sums/0",
        "^PUT .*/model/scaler/metadata/part",
        "^PUT .*variance.json",
    ),
    "classify": (
        "^PUT .*/reduced/.*parquet",
        "^PUT .*/predictions/.*parquet",
        "^PUT .*/model/classifier/",
        "^GET .*/reduced/.*parquet",
        "^PUT .*predictions.csv",
        "^PUT .*metrics.json",
    ),
    "report": ("^GET .*/predictions/.*parquet", "^PUT .*report.html"),
    "publish": (
        "^PUT .*publish.json",
        "^PUT .*/out/[^/]*/features/",
        "^PUT .*/out/[^/]*/model/",
        "^POST .*delete",
        "^PUT .*/out/[^/]*/run.json",
    ),
}
# What a stage is ended at: the first request that it alone makes.
BEGINS = {
    "list": "^GET .*list-type=2&prefix=in/",
    "find known": "^GET .*prefix=.*_incomplete/features/",
    "extract": "^GET .*/in/Class",
    "reduce": "^PUT .*/sums/",
    "classify": "^PUT .*/predictions/.*parquet",
    "report": "^PUT .*report.html",
    "publish": "^PUT .*/out/[^/]*/model/",
}


@pytest.fixture(scope="module")
def proxy(server) -> Iterator[Proxy]:
    """The images lie behind it."""
    with pytest.MonkeyPatch.context() as patch, faulty.before(server) as made:
        for name, value in KEY.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=server, region_name=KEY["AWS_REGION"])
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": KEY["AWS_REGION"]})
        for number in range(3):
            for view in range(IMAGES // 3):
                picture = pictures.encode(pictures.pixels(100 * number + view // 2, hue=number), quality=95)
                client.put_object(Bucket=BUCKET, Key=f"in/Class {number}/{view // 2}_{view % 2}.jpg", Body=picture)
        yield made


@pytest.fixture(scope="module")
def start(proxy, small_model, tmp_path_factory) -> Iterator[Callable[[], Driver]]:
    """Starts drivers, which end with the tests."""
    started = list[Driver]()

    def call() -> Driver:
        log = tmp_path_factory.mktemp("driver") / "log"
        started.append(Driver(proxy.address, small_model, log))
        return started[-1]

    yield call
    for driver in started:
        driver.kill()


@pytest.fixture(scope="module")
def driver(start) -> Driver:
    return start()


@pytest.fixture(scope="module")
def undisturbed(driver, reach) -> contract.Tables:
    """What a run comes to that is left alone."""
    driver.begin("undisturbed")
    ended = driver.end()
    assert ended.code == 0, ended.said
    return contract.check(where("undisturbed"), listed=IMAGES)


@pytest.fixture(scope="module")
def reach(server) -> Iterator[None]:
    """The tests themselves read around the proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEY | {"AWS_ENDPOINT_URL_S3": server}).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def no_rules_of_others(no_aws_of_the_developer, monkeypatch, server, proxy):
    for name, value in (KEY | {"AWS_ENDPOINT_URL_S3": server}).items():
        monkeypatch.setenv(name, value)
    proxy.clear()


@pytest.mark.parametrize(
    "fault",
    [Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.LOST, Fault.UNSAID, Fault.DELAY],
    ids=lambda fault: fault.name,
)
def test_a_run_with_a_fault_at_every_stage_comes_to_the_same(driver, undisturbed, proxy, fault):
    stages = STAGES
    if fault is Fault.DELAY:  # one request a stage: each takes its five seconds
        stages = {stage: patterns[-1:] for stage, patterns in STAGES.items()}
    rules = [proxy.hit(fault, pattern) for patterns in stages.values() for pattern in patterns]
    driver.begin(fault.name)
    ended = driver.end()
    assert [rule.pattern for rule in rules if not rule.struck] == []
    assert ended.code == 0, ended.said
    contract.assert_same(contract.check(where(fault.name), listed=IMAGES), undisturbed)


@pytest.mark.parametrize("stage", BEGINS)
def test_a_driver_killed_as_a_stage_begins(start, driver, undisturbed, proxy, stage):
    name = f"driver killed at {stage}"
    killed = start()
    rule = proxy.hit(Fault.HELD, BEGINS[stage])
    killed.begin(name)
    assert proxy.holding.wait(timeout=120)
    killed.kill()
    assert rule.struck
    proxy.clear()
    driver.begin(name)
    ended = driver.end()
    assert ended.code == 0, ended.said
    contract.assert_same(contract.read(where(name)), undisturbed)
    # Hadoop alone can name the empty objects that stand for its folders, and a run that has but to finish a publication
    # does without Spark: the next one that starts it removes them.
    there = dict(store.sizes(where(name)))
    assert {path: size for path, size in there.items() if size and path.startswith(results.INCOMPLETE)} == {}


def test_workers_tell_what_is_known_over_s3(driver, undisturbed):
    """In buckets of few rows; what is new, Spark sorts and writes to S3."""
    source, target = (f"s3://{BUCKET}/{name}" for name in ("in", "more"))
    names = sorted(name for name, _ in store.sizes(source))
    for known, batch in ((0, names[:-2]), (IMAGES - 2, names[-2:])):
        for name in batch:
            store.write(f"{target}/{name}", store.read(f"{source}/{name}"))
        driver.begin("more", "--input", target, most_rows=5)
        ended = driver.end()
        assert ended.code == 0, ended.said
        counts = contract.check(where("more"), listed=known + len(batch)).run["counts"]
        assert (counts["known"], counts["extracted"]) == (known, len(batch))
    contract.assert_same(contract.read(where("more")), undisturbed)


@pytest.mark.parametrize("stage", ["extract", "reduce", "classify"])
def test_a_worker_killed_as_a_stage_begins(driver, undisturbed, proxy, stage):
    """Of the stages that have Python workers. Local Spark tries no task again: the run fails, and says so in a line."""
    name = f"worker killed at {stage}"
    rule = proxy.hit(Fault.HELD, BEGINS[stage])
    driver.begin(name)
    assert proxy.holding.wait(timeout=120)
    for pid in workers(driver.process.pid):
        os.kill(pid, signal.SIGKILL)
    ended = driver.end()
    assert rule.struck
    assert ended.code == 1
    errors = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].endswith("run again (--verbose shows Spark's messages)")
    proxy.clear()
    driver.begin(name)
    again = driver.end()
    assert again.code == 0, again.said
    contract.assert_same(contract.check(where(name), listed=IMAGES), undisturbed)


def workers(driver: int) -> list[int]:
    """The Python workers among the processes below `driver`: those that its daemon has started."""
    parents = dict[int, int]()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue

    def below(pid: int) -> list[int]:
        children = [child for child, parent in parents.items() if parent == pid]
        return children + [each for child in children for each in below(child)]

    daemons = [pid for pid in below(driver) if b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [pid for pid in daemons if parents[pid] in daemons]
