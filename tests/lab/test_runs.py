"""Runs in the lab as a user sees them: what they say, what a second one does, what is refused, how Ctrl-C ends one."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from base.compose import exec_command
from base.paths import ROOT
from launch import docker_lab, signal_relay
from tests import contract, pictures
from tests.lab import commands
from tests.lab.conftest import LISTED, REJECTED


@pytest.fixture
def begun(undisturbed, photos, model, tmp_path):
    """Start a run and hand it over in its extraction."""
    started = []

    def start(name):
        job = commands.start_run(str(photos), str(tmp_path / name), *model)
        started.append(job)
        commands.wait_for_features(job, commands.results(tmp_path / name), share=0.2, of=undisturbed.prefix)
        return job

    yield start
    for job in started:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGINT)
            commands.end_of(job)


def test_the_summary_and_the_links(undisturbed, photos):
    lines = dict(line.split(maxsplit=1) for line in undisturbed.out.splitlines())
    assert lines["images"] == f"{LISTED:,}: {LISTED - REJECTED:,} extracted, 0 already known"
    assert lines["report"] == f"{undisturbed.output}/report.html"
    assert (ROOT / lines["here"]).read_text().lstrip().lower().startswith("<!doctype html>")
    assert {path.name for path in undisturbed.folder.iterdir()} == {
        "report.html", "predictions.csv", "metrics.json", "run.json",
    }  # fmt: skip
    place = f"s3://emrlab/{commands.images(photos)}"
    assert place.endswith("/the photos")
    assert f"{LISTED + 1:,} files in {place}: {LISTED + 1:,} sent\n" in undisturbed.error
    assert "Traceback" not in undisturbed.error


def test_nothing_new_does_nothing_but_say_where_things_are(undisturbed, photos, model, tmp_path):
    before = contract.read(undisturbed.output).run
    again = commands.run(str(photos), undisturbed.output, *model)
    assert again.returncode == 0, again.stderr
    assert f"{LISTED:,}: 0 extracted, {LISTED - REJECTED:,} already known" in again.stdout
    assert f"{LISTED + 1:,} files in s3://emrlab/{commands.images(photos)}: 0 sent\n" in again.stderr
    assert contract.read(undisturbed.output).run == before
    folder = f"out/{commands.BUCKET}/{undisturbed.prefix}"
    assert f"here        {folder}/report.html\n" in again.stdout, "results to S3: the report comes here all the same"
    shutil.rmtree(ROOT / folder)


def test_what_is_removed_and_changed_in_the_folder_is_so_in_the_results(undisturbed, photos, model, tmp_path):
    folder = tmp_path / "changed photos"
    shutil.copytree(photos, folder)
    place, output = commands.images(folder), commands.results(tmp_path / "changed")
    commands.copy(f"{commands.images(photos)}/", f"{place}/")
    commands.copy(f"{undisturbed.prefix}/", f"{output}/")
    (folder / "Class 0" / "0_0.jpg").unlink()
    (folder / "Class 1" / "0_0.jpg").write_bytes(pictures.encode(pictures.pixels(7000)))
    (folder / "Class 2" / "new +%.jpg").write_bytes(pictures.encode(pictures.pixels(7001)))
    done = commands.run(str(folder), str(tmp_path / "changed"), *model)
    assert done.returncode == 0, done.stderr
    assert f"{LISTED + 1:,} files in s3://emrlab/{place}: 2 sent, 1 removed\n" in done.stderr
    tables = contract.check(f"s3://emrlab/{output}", listed=LISTED, rejected=REJECTED)
    assert tables.run["counts"]["extracted"] == 2
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")} - {"Class 1/bad.jpg"}
    assert set(tables.features["path"]) == paths


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s3://another/images", "--input s3://another/images: access denied; this key has no right to it"),
        ("s3://emrlab/images/nothing", "--input s3://emrlab/images/nothing holds no file; it wants class folders of"),
    ],
)
def test_a_wrong_prefix_is_one_line_and_exit_code_two(model, tmp_path, source, words):
    done = commands.run(source, str(tmp_path / "wrong"), *model)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line.startswith("error: ")] == [
        line for line in done.stdout.splitlines() if words in line
    ]
    assert words in done.stdout
    assert not (tmp_path / "wrong").exists()


def test_a_shape_that_does_not_fit_is_refused_before_anything_is_submitted(photos, model, tmp_path):
    seen = commands.ask(docker_lab.find().master, "/json/").count('"id" : "app-')
    done = commands.run(str(photos), str(tmp_path / "x"), *model, "--conf", "spark.executor.memory=40g")
    assert done.returncode == 2
    assert done.stderr.startswith("error: spark.executor.memory 40960 MB + spark.executor.memoryOverhead ")
    assert "above YARN's limit of" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert commands.ask(docker_lab.find().master, "/json/").count('"id" : "app-') == seen


def test_ctrl_c_ends_the_job_and_the_next_run_goes_on(begun, undisturbed, photos, model, tmp_path):
    job = begun("stopped")
    os.killpg(job.pid, signal.SIGINT)
    done = commands.end_of(job)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "error: stopped; what was extracted is kept, run again" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    commands.wait_until(lambda: not commands.active_applications(), "end of the application", timeout_s=30)
    assert commands.driver_processes() == []
    output = commands.results(tmp_path / "stopped")
    left = commands.sizes(commands.s3("DATA"), f"{output}/")
    assert "run.json" not in left
    assert all(name.startswith("_incomplete/") for name in left), "nothing looks like a result"
    again = commands.run(str(photos), str(tmp_path / "stopped"), *model)
    assert again.returncode == 0, again.stderr
    tables = contract.check(f"s3://emrlab/{output}", listed=LISTED, rejected=REJECTED)
    assert tables.run["counts"]["known"] > 0
    contract.assert_same(tables, contract.read(undisturbed.output))


def test_a_killed_laptop_process_ends_the_job_too(begun, tmp_path):
    job = begun("killed")
    job.kill()
    job.communicate()
    commands.wait_until(lambda: not commands.active_applications(), "end of the application", timeout_s=60)
    commands.wait_until(lambda: not commands.driver_processes(), "end of the driver", timeout_s=60)
    assert "run.json" not in commands.sizes(commands.s3("DATA"), f"{commands.results(tmp_path / 'killed')}/")


@pytest.fixture
def somebodys_application(lab):
    """An application that has all cores of the lab until the test ends."""
    script = "import time\nfrom pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\ntime.sleep(3600)\n"
    commands.execute("master", "sh", "-c", "cat > /tmp/holds_cores.py", stdin=script)
    relayed = ["python3", "-c", Path(signal_relay.__file__).read_text(), "spark-submit", "/tmp/holds_cores.py"]  # noqa: S108
    holder = subprocess.Popen(
        exec_command("master", relayed),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    nodes = docker_lab.find().nodes
    cores = nodes.count * nodes.each.vcpu
    commands.wait_until(
        lambda: any(each["cores"] == cores for each in commands.active_applications()), "application with all cores"
    )
    yield
    holder.communicate()  # closes its stdin, at which the application ends
    commands.wait_until(lambda: not commands.active_applications(), "end of the application", timeout_s=60)


def test_a_second_run_does_not_wait_for_ever(somebodys_application, photos, model, tmp_path):
    done = commands.run(str(photos), str(tmp_path / "second"), *model, "--conf", "spark.app.name=second")
    assert done.returncode == 2
    assert "cores of the lab are free and this run asks for" in done.stderr
    assert "wait for its end" in done.stderr
