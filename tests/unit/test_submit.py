"""What a job writes reaches the user whole and as it comes, whoever reads it."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from base.paths import ROOT
from launch import submit
from launch.submit import Command, Tail

pytestmark = pytest.mark.timeout(60)


class Sink(io.StringIO):
    """Takes `pause_s` for each piece, and does `at_words` when it has got them."""

    def __init__(self, pause_s=0.0, at_words=lambda said: None):
        super().__init__()
        self.pause_s, self.at_words = pause_s, at_words

    def write(self, text):
        time.sleep(self.pause_s)
        count = super().write(text)
        self.at_words(self.getvalue())
        return count


@pytest.fixture
def run(monkeypatch):
    """Run a program as a job of a user's own; its exit code and what it said."""

    def call(program, *, out=None, err=None):
        out, err = out or Sink(), err or Sink()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = submit.run_local(Command([sys.executable, "-c", program], dict(os.environ)), tail=Tail())
        return code, out.getvalue(), err.getvalue()

    return call


def test_all_of_it_is_handed_on_however_slowly_it_is_taken(run, monkeypatch):
    """By `less`, say, in which somebody reads for longer than a job is waited for."""
    monkeypatch.setattr(submit, "STOP_S", 0.1)
    code, said, _ = run("import sys; sys.stdout.write('x' * 200_000); sys.exit(7)", out=Sink(pause_s=0.4))
    assert (code, len(said)) == (7, 200_000)


def test_a_process_that_the_job_left_behind_is_not_waited_for(run, monkeypatch):
    monkeypatch.setattr(submit, "STOP_S", 0.1)
    code, said, _ = run(
        "import subprocess\nprint(subprocess.Popen(['sleep', '50'], start_new_session=True).pid, flush=True)\n"
    )
    os.kill(int(said), signal.SIGKILL)  # it is there
    assert code == 0


def test_a_line_of_progress_is_shown_before_it_has_an_end(run, tmp_path):
    seen = tmp_path / "seen"
    program = (
        "import pathlib, sys, time\n"
        "sys.stderr.write('\\r1 of 2'); sys.stderr.flush()\n"
        f"until = time.monotonic() + 20; seen = pathlib.Path({str(seen)!r})\n"
        "while not seen.exists() and time.monotonic() < until: time.sleep(0.01)\n"
        "sys.stderr.write('\\r2 of 2\\n'); sys.exit(not seen.exists())\n"
    )
    code, _, said = run(program, err=Sink(at_words=lambda said: "1 of 2" in said and seen.touch()))
    assert (code, said) == (0, "\r1 of 2\r2 of 2\n")


def test_javas_remark_is_left_out_in_whatever_pieces_it_comes(run):
    pieces = ["a\n", "WARNING: Using", " incubator modules: jdk", ".x\nb WARNING: Using incubator modules\n", "WARN"]
    program = "import sys, time\n" + "".join(
        f"sys.stderr.write({piece!r}); sys.stderr.flush(); time.sleep(0.05)\n" for piece in pieces
    )
    assert run(program) == (0, "", "a\nb WARNING: Using incubator modules\nWARN")


def test_where_nobody_reads_any_more_the_exit_code_is_the_jobs():
    """As with `| head`: Python would end with 120 and an error of its own."""
    program = (
        "import sys; from base import command_line\n"
        "taken = command_line.write('x', sys.stdout); sys.stdout.write('y'); sys.exit(1 if taken else 7)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (7, b"")
