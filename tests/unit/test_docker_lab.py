"""The lab as the laptop finds it: whatever is wrong is one line; what Docker and Spark say is made up here."""

import json
import threading
from argparse import Namespace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from base import compose, paths
from data import destination
from launch import __main__ as cli
from launch import docker_lab
from launch.docker_lab import LabError
from tests import pictures

WORKER = {"state": "ALIVE", "cores": 2, "coresused": 0, "memory": 7488}


@pytest.fixture
def page():
    """What the master's page says; a test changes it."""
    return {"workers": [dict(WORKER), dict(WORKER), WORKER | {"state": "DEAD", "cores": 9}]}


@pytest.fixture
def master(page):
    """The port of a Spark master's page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/json/" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def service(name, *ports, state="running", code=0):
    published = [{"URL": "127.0.0.1", "TargetPort": target, "PublishedPort": port} for target, port in ports]
    return {"Service": name, "State": state, "ExitCode": code, "Publishers": published}


@pytest.fixture
def docker(monkeypatch, tmp_path):
    """Put a `docker` on PATH that answers `compose ps` with rows, or fails."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(docker_lab, "POLL_S", 0.02)
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    (tmp_path / ".env").write_text("# keys\nDATA_ACCESS_KEY_ID=id\nDATA_SECRET_ACCESS_KEY=a=b\n")

    def answer(*rows, lines=True, fail=None):
        said = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
        (tmp_path / "said").write_text(said)
        script = f"#!/bin/sh\necho '{fail}' >&2; exit 1\n" if fail else f"#!/bin/sh\n/bin/cat '{tmp_path}/said'\n"
        (tmp_path / "bin" / "docker").write_text(script)
        (tmp_path / "bin" / "docker").chmod(0o755)

    return answer


@pytest.fixture
def running(docker, master):
    """A lab that is up."""
    rows = [
        service("minio", (9000, 1), (9001, 2)),
        service("master", (8080, master), (4040, 4)),
        service("history", (18080, 5)),
        service("init", state="exited"),
    ]
    docker(*rows)
    return rows


def message():
    with pytest.raises(LabError) as caught:
        docker_lab.find()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("lines", [True, False], ids=["an object a line", "one array"])
def test_a_lab_that_is_up(running, docker, master, lines):
    docker(*running, lines=lines)
    found = docker_lab.find()
    assert found.s3 == "http://127.0.0.1:1"
    assert found.pages == {
        "Spark": f"http://127.0.0.1:{master}", "storage": "http://127.0.0.1:2", "history": "http://127.0.0.1:5",
    }  # fmt: skip
    assert (found.nodes.count, found.nodes.each.vcpu, found.nodes.each.yarn_mb) == (2, 2, 7488)
    access = docker_lab.access(found)
    assert (access.key().key_id, access.key().secret, access.address) == ("id", "a=b", found.s3)


def test_no_docker(docker):
    assert message() == "no docker on PATH; run: make doctor"


def test_docker_that_fails_says_why(docker):
    docker(fail="Cannot connect to the Docker daemon")
    assert message() == "Cannot connect to the Docker daemon; run: make doctor"


def test_a_lab_that_is_not_up(docker):
    docker()
    assert message() == "the lab is not up; run: make up"
    docker(service("minio", state="exited"), service("master", state="exited"))
    assert message() == "the lab is not up; run: make up"


def test_a_master_that_has_gone(running, docker):
    rows = [row if row["Service"] != "master" else service("master", state="exited", code=137) for row in running]
    docker(*rows)
    assert message() == "the lab's master is exited, exit code 137; run: make up (make logs shows what happened)"


def test_a_master_that_does_not_answer(running, docker, monkeypatch):
    monkeypatch.setattr(docker_lab, "ANSWER_S", 0.2)
    docker(*[row if row["Service"] != "master" else service("master", (8080, 9)) for row in running])
    assert message().startswith("no answer from the Spark master at http://127.0.0.1:9: ")


def test_a_lab_whose_image_was_built_anew_meanwhile(running, docker):
    """By another checkout, say: Docker no longer has a name for the one that runs."""
    docker(*[row | {"Image": f"sha256:{'ab' * 32}"} if row["Service"] == "master" else row for row in running])
    assert message() == "the lab's image was built anew since the lab was started; run: make up"


def test_no_worker_alive(running, page, monkeypatch):
    monkeypatch.setattr(docker_lab, "ANSWER_S", 0.2)
    monkeypatch.setattr(docker_lab, "_ask", lambda master: page)
    page["workers"] = [WORKER | {"state": "DEAD"}]
    assert message() == "no worker of the lab is alive; run: make up (make logs shows what happened)"


@pytest.mark.parametrize(("target", "start"), [("lab", "make up"), ("emr-lab", "make emr-up")])
def test_photographs_go_to_the_labs_s3_whichever_lab_is_up(docker, target, start):
    """The EMR lab has no master, and `make up` would end it."""
    parsed = Namespace(target=target, region="eu-west-3")
    docker(service("minio", (9000, 1), (9001, 2)), service("emr", (5000, 3)), service("primary", (8088, 4)))
    access = destination.access(parsed)
    assert (access.key().key_id, access.address) == ("id", "http://127.0.0.1:1")
    docker()
    with pytest.raises(LabError) as caught:
        destination.access(parsed)
    assert str(caught.value) == f"the lab's minio does not run; run: {start}"


def test_no_key(running, tmp_path):
    lab = docker_lab.find()
    (tmp_path / ".env").write_text("")
    with pytest.raises(LabError, match=r"\.env has no DATA_ACCESS_KEY_ID; run: make up"):
        docker_lab.access(lab)
    (tmp_path / ".env").unlink()
    with pytest.raises(LabError, match=r"\.env has no DATA_ACCESS_KEY_ID; run: make up"):
        docker_lab.access(lab)


def test_a_run_that_is_ending_is_waited_for_and_one_that_goes_on_is_named(running, page, monkeypatch):
    lab = docker_lab.find()
    shape = docker_lab.executors(lab.nodes, {})
    page["workers"][0]["coresused"] = 2
    monkeypatch.setattr(docker_lab, "FREE_S", 0.1)
    with pytest.raises(LabError, match=r"2 cores of the lab are free and this run asks for 4: .* wait for its end"):
        docker_lab.wait_for_cores(shape, lab)
    monkeypatch.setattr(docker_lab, "FREE_S", 30)
    threading.Timer(0.1, page["workers"][0].update, kwargs={"coresused": 0}).start()
    docker_lab.wait_for_cores(shape, lab)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--input", "gone"], "/gone: no such folder; correct the path"),
        (["--input", "empty"], "/empty holds no file; correct the path"),
        (["--input", "/"], "--input / has no name; choose a folder in it"),
        (["--output", "used"], "/used holds the results of a run on this machine; choose another folder"),
        (["--conf", "spark.executor.cores=3"], "spark.executor.cores 3: m5.xlarge has 2 vCPU here; lower it"),
        (["--conf", "executor.cores=3"], "'executor.cores=3' is no Spark setting; write spark.executor.memory=4g"),
        (["--conf", "spark.executor.cores"], "is no Spark setting"),
        (["--model", "gone.keras"], "--model gone.keras: no such file"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_sent(running, tmp_path, monkeypatch, capsys, more, words):
    pictures.write_set(tmp_path / "photos", classes=1, views=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "used" / "features").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--target", "lab", "--input", "photos", "--output", "out", *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert len(error.splitlines()) == 1


def test_the_lab_that_is_not_up_is_said_with_exit_code_two(docker, tmp_path, capsys):
    docker()
    pictures.write_set(tmp_path / "photos", classes=1, views=1)
    assert cli.main(["run", "--target", "lab", "--input", f"{tmp_path}/photos", "--output", f"{tmp_path}/o"]) == 2
    assert capsys.readouterr().err == "error: the lab is not up; run: make up\n"


def test_explain_needs_no_lab(docker, capsys, monkeypatch):
    monkeypatch.setenv("INSTANCE_TYPE", "m5.2xlarge")
    given = ["--conf", "spark.speculation=true"]
    assert cli.main(["run", "--target", "lab", "--input", "in", "--output", "out", "--explain", *given]) == 0
    printed = capsys.readouterr().out
    assert "spark.executor.cores = 4\n" in printed
    assert "spark.executor.instances = 4\n" in printed
    assert "spark.speculation = true\n    given on the command line\n" in printed


def test_what_runs_in_a_container_gets_no_terminal_and_keeps_its_streams_apart():
    assert compose.exec_command("master", ["x", "y z"]) == ["docker", "compose", "exec", "-T", "master", "x", "y z"]


def test_what_a_service_logs_need_be_no_utf8():
    assert compose.run(["printf", r"caf\351"]) == "caf\N{REPLACEMENT CHARACTER}"
    with pytest.raises(compose.DockerError, match="error: caf"):
        compose.run(["sh", "-c", r"printf 'error: caf\351' >&2; exit 1"])
