"""What doctor says of this machine, with a `docker` of the test's own on PATH."""

import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from base import paths
from base.paths import ROOT
from lab import __main__ as cli
from lab import doctor
from tests.unit.fake_docker import COMPOSE, FakeDocker, row, rows


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with Docker, where all is well; without the settings of whoever runs the tests."""
    for name in ("JAVA_HOME", "S3_PORT", "MASTER_UI_PORT", "YARN_UI_PORT", "RELEASE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "LAB", tmp_path)
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setattr(doctor, "DISK_GIB", 0)
    (tmp_path / "docker" / "certificates").mkdir(parents=True)
    (tmp_path / "docker" / "certificates" / "host.pem").touch()
    (tmp_path / "compose.yaml").write_text(COMPOSE % (free_port(), free_port(), free_port()))
    fake = FakeDocker(folder)
    fake.program("java", "#!/bin/sh\necho 'openjdk version \"17.0.15\"' >&2\n")
    return fake


def said(capsys):
    """Exit code of `doctor`, and its lines by their second word."""
    code = cli.main(["doctor"])
    return code, {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}


def test_all_is_well(machine, capsys):
    code, lines = said(capsys)
    assert code == 0
    assert {name: line.split()[0] for name, line in lines.items()} == {
        "Docker": "ok", "Compose": "ok", "memory": "ok", "ports": "ok", "buildx": "ok", "disk": "ok", "Java": "ok",
        "Python": "ok", "AWS": "note",
    }  # fmt: skip
    assert lines["memory"].endswith("64.0 GiB, 8 CPUs")
    assert lines["buildx"].endswith(" 0.13.1")


@pytest.mark.parametrize(
    ("answers", "subject", "line"),
    [
        (
            {"version --format": OSError("Cannot connect to the Docker daemon at unix:///x. Is the daemon running?")},
            "Docker",
            "the Docker daemon does not answer: Cannot connect to the Docker daemon at unix:///x. Is the daemon "
            "running?; start Docker Desktop, or: sudo systemctl start docker",
        ),
        (
            {"version --format": OSError("dial unix /var/run/docker.sock: connect: permission denied")},
            "Docker",
            "this user may not use Docker's socket; sudo usermod -aG docker $USER, then log in again",
        ),
        (
            {
                "version --format": OSError("Error: template: version:1:9: can't evaluate field Version"),
                "--version": "podman version 5.4.2",
            },
            "Docker",
            "docker is Podman here, which answers otherwise than Docker; install Docker Engine as docs.docker.com/",
        ),
        (
            {"compose version --short": OSError("docker: 'compose' is not a docker command.")},
            "Compose",
            "no docker compose; install the package docker-compose-plugin",
        ),
        (
            {"buildx version": OSError("docker: 'buildx' is not a docker command.")},
            "buildx",
            "no docker buildx, which builds the images; install the package docker-buildx-plugin",
        ),
        (
            {"info --format": f"8|{8 * 1024**3}|true|/"},
            "memory",
            "Docker has 8.0 GiB of memory, the lab needs 10 GiB; give it more, in Docker Desktop",
        ),
    ],
    ids=["daemon", "socket", "podman", "compose", "buildx", "memory"],
)
def test_what_is_wrong_is_one_line_with_the_fix(machine, capsys, answers, subject, line):
    machine.write(answers)
    code, lines = said(capsys)
    assert code == 1
    assert lines[subject].split(maxsplit=2)[0] == "missing"
    assert lines[subject].split(maxsplit=2)[2].startswith(line)


@pytest.mark.parametrize(("version", "word"), [("27.5.1", "note"), ("20.10.24+dfsg1", "note"), ("28.0.0", "ok")])
def test_an_engine_whose_ports_the_neighbours_reach_is_named_and_fails_nothing(machine, capsys, version, word):
    machine.write({"version --format": version})
    code, lines = said(capsys)
    assert code == 0
    assert lines["Docker"].split()[0] == word
    assert ("machines of the same network segment can reach its ports" in lines["Docker"]) == (word == "note")


def test_an_old_docker_desktop_has_no_neighbours(machine, capsys):
    machine.write({"version --format": "27.5.1", "info --format": f"8|{64 * 1024**3}|true|/not/on/this/machine"})
    assert said(capsys)[1]["Docker"].split()[0] == "ok"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("ssh://me@far.invalid:22", "far.invalid"),
        ("tcp://192.0.2.1:2375", "192.0.2.1"),
        ("ssh://core@127.0.0.1:5555", None),
        ("tcp://localhost:2375", None),
        ("npipe:////./pipe/docker_engine", None),
    ],
)
def test_docker_on_another_machine_is_said_before_anything_starts_there(machine, capsys, address, host):
    """The keys would be made in a folder of that machine, and its ports be shown as those of this one."""
    machine.write({"context inspect": address})
    assert cli.main(["doctor"]) == (1 if host else 0)
    assert (f"Docker is on another machine, {host}, which" in capsys.readouterr().out) == bool(host)
    assert cli.main(["up"]) == (1 if host else 0)
    assert any(call.startswith("compose up") for call in machine.calls()) != bool(host)


def test_an_engine_without_contexts_is_taken_for_this_machines(machine, capsys):
    machine.write({"context inspect": OSError("unknown command")})
    assert said(capsys)[0] == 0


def test_a_folder_of_dockers_that_only_root_sees_stops_nothing(machine, capsys, monkeypatch):
    exists = Path.exists

    def closed(path):
        if path == Path("/closed/docker"):
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", closed)
    machine.write({"info --format": f"8|{64 * 1024**3}|true|/closed/docker", "version --format": "27.5.1"})
    code, lines = said(capsys)
    assert code == 0
    assert lines["disk"].split()[0] == "ok"


def test_no_docker(machine, capsys):
    (machine.folder / "docker").unlink()
    code, lines = said(capsys)
    assert code == 1
    assert "no docker on PATH; install Docker Desktop" in lines["Docker"]
    assert "Compose" not in lines


def test_only_compose_v1(machine, capsys):
    machine.write({"compose version --short": OSError("docker: 'compose' is not a docker command.")})
    machine.program("docker-compose", "#!/bin/sh\necho 1.29.2\n")
    code, lines = said(capsys)
    assert code == 1
    assert "only Compose v1 (1.29.2) is here, the lab needs v2; install" in lines["Compose"]


def test_a_full_disk(machine, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "DISK_GIB", 10**9)
    code, lines = said(capsys)
    assert code == 1
    assert "free where Docker keeps its images, building them needs 1000000000 GiB; free some" in lines["disk"]


def test_a_port_that_is_taken_is_named_with_its_variable(machine, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setenv("S3_PORT", str(taken))
        code, lines = said(capsys)
        assert code == 1
        assert f"port {taken} is taken by another program; choose another, or 0" in lines["ports"]
        assert ": make up S3_PORT=0, or the same with make emr-up" in lines["ports"]
        machine.write({"compose ps": rows(minio=row("minio", ports=[(9000, taken)]))})
        assert said(capsys)[0] == 0, "the lab itself has it"


def test_a_port_is_read_from_the_env_file_and_zero_is_always_free(machine, capsys):
    paths.ENV_FILE.write_text("S3_PORT=0\nMASTER_UI_PORT=99999\n")
    code, lines = said(capsys)
    assert code == 1
    assert "MASTER_UI_PORT=99999 is no port; give a number from 0 to 65535" in lines["ports"]


def test_the_doctor_looks_at_the_ports_of_all_profiles(machine, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("YARN_UI_PORT", str(other.getsockname()[1]))
        code, lines = said(capsys)
    assert code == 1
    assert ": make up YARN_UI_PORT=0, or" in lines["ports"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n"])
def test_java_and_aws_are_noted_and_stop_nothing(machine, capsys, text):
    machine.program("java", text)
    code, lines = said(capsys)
    assert code == 0
    assert lines["Java"].startswith("note")
    assert "no Java 17: java " in lines["Java"]
    assert "no AWS credentials; only runs on EMR need them; aws configure" in lines["AWS"]


def test_credentials_are_named_and_never_shown(machine, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-the-key")
    lines = said(capsys)[1]
    assert lines["AWS"] == "ok       AWS       credentials in AWS_ACCESS_KEY_ID"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (Path.home() / ".aws").mkdir()
    (Path.home() / ".aws" / "credentials").write_text("[default]\naws_secret_access_key = the-secret\n")
    assert "the-secret" not in str(said(capsys))


def test_a_daemon_that_hangs_is_given_up(machine, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "DAEMON_TIMEOUT_S", 0.2)
    machine.program("docker", "#!/bin/sh\nwhile :; do :; done\n")
    code, lines = said(capsys)
    assert code == 1
    assert "the Docker daemon does not answer: no answer to `docker version" in lines["Docker"]


def test_the_table_has_every_trouble_without_a_name_in_braces():
    rows_ = doctor.table()
    assert len(rows_) == len(doctor.TROUBLES)
    fix = "choose another, or 0 for any free one: make up …=0, or the same with make emr-up"
    assert ("port … is taken by another program", fix) in rows_
    assert not any("{" in cell or "\n" in cell for pair in rows_ for cell in pair)


def test_make_finds_a_python_that_the_lab_runs_on(tmp_path):
    for name, code in {"python3": 1, "python3.13": 1, "python3.12": 0}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    own = {name: value for name, value in os.environ.items() if name != "PYTHON" and not name.startswith("MAKE")}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = ["make", "--dry-run", "doctor"]
    made = subprocess.run(command, cwd=ROOT, env=own | {"PATH": path}, capture_output=True, text=True, check=True)
    assert made.stdout == "python3.12 -m lab doctor\n"


def test_an_environment_that_setup_did_not_make_is_not_emptied(tmp_path):
    """As one that an editor makes in a new checkout."""
    shutil.copy(ROOT / "setup.sh", tmp_path)
    (tmp_path / "requirements.lock").write_text("another\n")
    mine = tmp_path / ".venv" / "lib" / "mine.py"
    mine.parent.mkdir(parents=True)
    mine.touch()
    environment = os.environ | {"JAVA_HOME": "/somewhere"}
    ran = subprocess.run(["sh", "setup.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (
        2,
        "error: .venv is none of make setup's, which would empty it; move it away, and run again\n",
    )
    assert mine.exists()


def test_an_older_python_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 6, "final", 0))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "lab" / "__init__.py"))
    assert ended.value.code == 2
    line = "error: Python 3.9; the lab needs 3.11 or later; install one, or name it: make up PYTHON=/path/to/python\n"
    assert capsys.readouterr().err == line
