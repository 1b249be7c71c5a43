"""However a run is stopped, nothing of it goes on, and the next one does."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark import SparkContext

from launch import signal_relay
from pipeline import interrupt, signals
from tests import pictures

ROOT = Path(__file__).parents[2]
MARK = "EMRLAB_TEST_RUN"

pytestmark = pytest.mark.timeout(400)


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:  # it has just ended, or is another user's
            continue
    return found


def wait_until(look: Callable[[], object], what: str, *, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < end, f"no {what} after {timeout_s} s"
        time.sleep(0.05)


class Run:
    """`python -m launch run` on many photographs, in a session of its own that may have a terminal."""

    def __init__(self, folder: Path, keras_file: Path) -> None:
        self.output, self.mark = folder / "out", secrets.token_hex(8)
        args = ["--input", str(folder / "photos"), "--output", str(self.output), "--model", str(keras_file)]
        self.command = [sys.executable, "-m", "launch", "run", *args, "--image-size", "32"]
        self.env = os.environ | {MARK: self.mark}
        self.said = folder / "said.txt"

    def start(self, terminal: int | None = None) -> subprocess.Popen[bytes]:
        def take_terminal() -> None:
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        with self.said.open("wb") as said:
            out = said if terminal is None else terminal
            job = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.env,
                stdin=terminal,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=take_terminal,  # noqa: PLW1509 - one call of the system
            )
        prepared = self.output / "_incomplete" / "features"
        wait_until(lambda: list(prepared.glob("*.parquet")) or job.poll() is not None, "features")
        assert job.poll() is None, self.said.read_text()
        return job

    def check_end(self) -> None:
        wait_until(lambda: not marked(self.mark), "end of every process", timeout_s=60)
        assert not (self.output / "run.json").exists()


@pytest.fixture
def run(tmp_path, keras_file):
    pictures.write_set(tmp_path / "photos", classes=3, views=1500)
    made = Run(tmp_path, keras_file)
    yield made
    for pid in marked(made.mark):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_all_its_processes(run, number):
    job = run.start()
    os.kill(job.pid, number)
    assert job.wait(timeout=60) == 128 + number
    run.check_end()
    said = run.said.read_text()
    assert "error: stopped; what was extracted is kept, run again" in said
    assert "Traceback" not in said


def test_a_killed_launcher_takes_the_run_along_and_the_next_one_goes_on(run):
    job = run.start()
    job.kill()
    job.wait()
    run.check_end()
    subprocess.run(run.command, cwd=ROOT, check=True, capture_output=True)
    counts = json.loads((run.output / "run.json").read_text())["counts"]
    assert counts["known"] > 0
    assert counts["known"] + counts["extracted"] == 4500


def test_a_closed_terminal_ends_the_run(run):
    ours, theirs = pty.openpty()
    job = run.start(theirs)
    os.close(theirs)
    os.close(ours)
    assert job.wait(timeout=60) in {129, 1}, "1 where its last word found no terminal"
    run.check_end()


def test_the_drivers_python_ends_well_at_sigterm(run):
    """As from YARN, `timeout` or docker stop, which leave the launcher alone."""
    job = run.start()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in marked(run.mark)}
    driver = next(pid for pid, words in commands.items() if words[1] == b"-P" and words[2].endswith(b"driver.py"))
    os.kill(driver, signal.SIGTERM)
    assert job.wait(timeout=60) == 143
    run.check_end()
    assert "error: stopped; what was extracted is kept, run again" in run.said.read_text()


@pytest.mark.parametrize("half_made", [object(), None])
def test_a_stop_while_spark_starts_says_nothing_of_its_own(monkeypatch, half_made):
    """Python has the context before the context has a JVM."""
    raised = list[threading.ExceptHookArgs]()
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(SparkContext, "_active_spark_context", half_made)
    interrupt.cancel_jobs()
    assert raised == []


JOB = """
import sys, time
from pipeline import signals
signals.install_handlers()
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt as stopped:
    print("stopping", flush=True)
    sys.stdin.readline()
    sys.exit(signals.exit_code(stopped))
"""


def begun(*wrapped: str) -> subprocess.Popen[str]:
    command = [*wrapped, sys.executable, "-c", JOB]
    job = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    return job


def test_whoever_ends_is_not_disturbed_by_further_signals():
    job = begun()
    job.send_signal(signal.SIGTERM)
    assert job.stdout is not None
    assert job.stdout.readline() == "stopping\n"
    for number in signals.TERMINATION:
        job.send_signal(number)
    job.communicate("go on\n", timeout=30)
    assert job.returncode == 143


def test_what_was_started_to_outlive_the_terminal_does():
    job = begun("nohup")
    job.send_signal(signal.SIGHUP)
    job.send_signal(signal.SIGTERM)
    assert job.communicate("go on\n", timeout=30)[0] == "stopping\n"
    assert job.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_relay_passes_on_that_it_is_to_end(number):
    source = Path(signal_relay.__file__).read_text()
    job = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); print(0, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", source, sys.executable, "-c", job]
    relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert relay.stdout is not None
    relay.stdout.readline()
    relay.send_signal(number)
    assert relay.wait(timeout=30) == 130
    relay.communicate()


# What `launch run --target lab` comes to, at a Docker that runs what it is told on this machine.
IN_LAB = """
import sys
from launch import submit
from pipeline import signals
signals.install_handlers()
sys.exit(submit.run_lab([]))
"""
DOCKER = """#!/bin/sh
while [ "$1" != master ]; do shift; done
shift
exec "$@"
"""
SUBMIT = f"""#!{sys.executable}
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    child = subprocess.Popen(["sleep", "600"])
    print("begun", flush=True)
    child.wait()
except KeyboardInterrupt:
    print("put away", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_the_run_in_the_lab(tmp_path, number, code):
    for name, text in (("docker", DOCKER), ("spark-submit", SUBMIT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    mark = secrets.token_hex(8)
    env = os.environ | {MARK: mark, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    job = subprocess.Popen([sys.executable, "-c", IN_LAB], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "begun\n"
    job.send_signal(number)
    assert job.communicate(timeout=60)[0] == "put away\n"
    assert job.returncode == code
    wait_until(lambda: not marked(mark), "end of every process", timeout_s=60)
