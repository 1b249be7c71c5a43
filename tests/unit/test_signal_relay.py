"""The job's end where nobody passes signals on: by name on stdin, or because whoever submitted is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import signal_relay

pytestmark = pytest.mark.timeout(60)

SOURCE = Path(signal_relay.__file__).read_text()
# A job as ours is: deaf at first, then ending well at Ctrl-C; its child, as the JVM, stays deaf.
JOB = """
import signal, subprocess, sys, time
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
child = subprocess.Popen(["sleep", "600"])
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print(child.pid, flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("stopped", flush=True)
    child.kill()
    sys.exit(130)
"""
DEAF = "import signal, time; print(0, flush=True); time.sleep(600)"


@pytest.fixture
def start():
    """Start a job below the relay; a pipe each for its stdin and stdout."""
    started = []

    def call(*command, source=SOURCE):
        job = subprocess.Popen(
            [sys.executable, "-c", source, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(job)
        return job

    yield call
    for job in started:
        if job.poll() is None:
            job.kill()


def gone(pid):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_jobs_words_and_exit_code_come_through(start, code):
    job = start("sh", "-c", f"echo said; exit {code}")
    assert job.stdout.read() == "said\n"
    assert job.wait(timeout=20) == code


@pytest.mark.parametrize("how", ["its name", "the end of stdin"])
def test_ctrl_c_lets_the_job_end_well(start, how):
    job = start(sys.executable, "-c", JOB)
    child = int(job.stdout.readline())
    if how == "its name":
        job.stdin.write("SIGINT\n")
        job.stdin.flush()
    else:
        job.stdin.close()
    assert job.stdout.readline() == "stopped\n"
    assert job.wait(timeout=20) == 130
    assert gone(child)


def test_who_does_not_hear_is_killed_at_once_when_asked(start):
    job = start(sys.executable, "-c", DEAF)
    job.stdout.readline()
    job.stdin.write("SIGINT\nSIGKILL\n")
    job.stdin.flush()
    assert job.wait(timeout=10) == 128 + signal.SIGKILL


def test_who_does_not_hear_is_killed_after_the_deadline_when_nobody_is_there(start):
    job = start(sys.executable, "-c", DEAF, source=SOURCE.replace("STOP_S = 15.0", "STOP_S = 0.2"))
    job.stdout.readline()
    job.stdin.close()
    assert job.wait(timeout=10) == 128 + signal.SIGKILL


def test_what_the_job_leaves_behind_ends_with_it(start):
    job = start("sh", "-c", "sleep 600 & echo $!")
    left = int(job.stdout.readline())
    assert job.wait(timeout=20) == 0
    assert gone(left)
