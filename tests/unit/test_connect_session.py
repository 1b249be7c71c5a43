"""`python -m launch session`: a server that a test plays, and what a client is told of it."""

import os
import re
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from queue import Queue

import pytest

from launch import __main__ as cli
from launch import connect_server, session, targets
from launch.connect_server import SessionError
from pipeline import signals
from tests.unit.test_targets import SHAPE, values

SECRET = "very secret"  # noqa: S105 - a test's
WORD = "12:00:00 INFO SparkConnectServer: Spark Connect server started at: 127.0.0.1:{port}"


def server(*lines, then=""):
    """The command of a program that says these lines, and stays unless `then` ends it; the relay's words are heard."""
    say = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    return [sys.executable, "-c", f"import sys\n{say}{then or 'sys.stdin.readline()'}"]


def test_the_port_is_the_one_that_the_server_tells():
    with connect_server._running(server("noise", WORD.format(port=40123))) as running:
        assert running.port == 40123
        assert running.is_open()
    assert not running.is_open()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Error: Failed to load class org.apache.X.", "no Spark Connect: sessions are there since emr-spark-8.0.0"),
        ("java.net.BindException: Address already in use", "another session has the port; end it first"),
        ("ERROR: no memory is left", "did not start: ERROR: no memory is left"),
        (
            "SparkException: no\n\tat org.apache.spark.SparkSubmit$.error(SparkSubmit.scala:1)",
            "did not start: SparkException: no",
        ),
    ],
)
def test_a_server_that_ends_is_told_in_one_line(said, words):
    with pytest.raises(SessionError) as caught, connect_server._running(server(said, then="sys.exit(1)")):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(connect_server, "START_S", 0.5)
    with pytest.raises(SessionError, match="says nothing after"), connect_server._running(server()):
        pass


def test_a_session_that_ends_while_its_server_speaks_prints_no_traceback():
    """The thread that listens finds its pipe closed, where it is slower than the end."""
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as ended:
        pass
    ports = Queue[int | None]()
    connect_server._listen(ended, ports, [])
    assert ports.get_nowait() is None


def test_a_session_plans_as_spark_does_and_gives_back_what_it_does_not_use():
    run, found = values(targets.lab(SHAPE)), values(targets.session(targets.lab(SHAPE), shared=SHAPE))
    assert found["spark.dynamicAllocation.enabled"] == "true"
    assert found["spark.dynamicAllocation.maxExecutors"] == run["spark.executor.instances"]
    assert "spark.executor.instances" not in found, "it would start with all of them"
    assert not {"spark.sql.adaptive.enabled", "spark.sql.codegen.wholeStage"} & found.keys(), "the image job's own"
    assert found["spark.executor.memory"] == run["spark.executor.memory"]
    assert all(setting.reason for setting in targets.session(targets.local([])))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A session whose server ends when it is looked at the second time."""
    looks = iter([True, False])

    @contextmanager
    def local(overrides, locations):
        yield connect_server.Server(
            where="a test", port=4, token=SECRET, slots=2, python="3.11", spark="4.1.1", is_open=lambda: next(looks)
        )

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(connect_server, "local", local)
    monkeypatch.setattr(session, "CACHE", tmp_path)
    monkeypatch.setattr(session, "WATCH_S", 0)
    return tmp_path / "sessions"


def test_the_token_is_in_a_file_of_the_users_and_nowhere_else(opened, capsys, monkeypatch):
    seen: dict[str, object] = {}

    def look():
        (file,) = opened.iterdir()
        seen["mode"], seen["text"] = stat.S_IMODE(file.stat().st_mode), file.read_text()

    monkeypatch.setattr(time, "sleep", lambda _: look())
    assert cli.main(["session"]) == 1
    said = capsys.readouterr()
    assert said.err == "error: the session's server has ended, as where memory runs out; run: make session\n"
    assert SECRET not in said.out
    assert seen["mode"] == 0o600
    assert seen["text"] == (
        "SPARK_REMOTE=sc://localhost:4\nSPARK_CONNECT_AUTHENTICATE_TOKEN='very secret'\nEMRLAB_PYTHON=3.11\n"
    )
    assert list(opened.iterdir()) == [], "it goes with the session"
    assert re.search(r"\. \S*local\.env", said.out)


def test_a_client_behind_a_proxy_is_told_to_go_without_it(opened, monkeypatch):
    """gRPC would ask the proxy for this machine's own port."""
    monkeypatch.setenv("https_proxy", "http://proxy.corp:3128")
    monkeypatch.setenv("no_proxy", ".corp")
    monkeypatch.setenv("NO_PROXY", ".corp")
    seen = list[str]()
    monkeypatch.setattr(time, "sleep", lambda _: seen.append((opened / "local.env").read_text()))
    cli.main(["session"])
    assert seen[0].endswith("\nno_proxy=.corp,127.0.0.1,localhost\nNO_PROXY=.corp,127.0.0.1,localhost\n")


def test_the_file_of_a_newer_session_stays(opened, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: (opened / "local.env").write_text("theirs"))
    cli.main(["session"])
    assert (opened / "local.env").read_text() == "theirs"


def test_a_link_in_its_place_is_replaced_and_not_followed(opened, tmp_path):
    opened.mkdir()
    (tmp_path / "precious").write_text("mine")
    (opened / "local.env").symlink_to(tmp_path / "precious")
    cli.main(["session"])
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_lab_that_is_down_is_said(capsys, monkeypatch, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert cli.main(["session", "--target", "lab"]) == 2
    assert capsys.readouterr().err == "error: the lab is not up; run: make up\n"


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 0), (signals.Stopped(15), 143)])
def test_a_session_ends_by_ctrl_c_as_it_should(opened, monkeypatch, stop, code):
    def sleep(_):
        raise stop

    monkeypatch.setattr(time, "sleep", sleep)
    assert cli.main(["session"]) == code
    assert list(opened.iterdir()) == []
