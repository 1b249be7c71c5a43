"""`python -m lab`: what it makes, asks of Docker and says, with a `docker` of the test's own on PATH."""

import json
import os
import re
import shutil
import socket
import subprocess
from datetime import date

import pytest

from base import compose, env_files, paths, releases, sizing
from base.compose import DockerError
from base.paths import ROOT
from lab import __main__ as cli
from lab import credentials, docker, up
from tests.unit.fake_docker import SERVICES, row, rows
from tests.unit.test_doctor import machine

__all__ = ["machine"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(docker, "POLL_S", 0.01)
    monkeypatch.setattr(up, "START_TIMEOUT_S", 5)
    monkeypatch.delenv("INSTANCE_TYPE", raising=False)


def failed(capsys, *args):
    """The one line that a command that fails says, with its exit code."""
    code = cli.main(list(args))
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return code, error


def test_up_says_where_everything_is(machine, capsys):
    assert cli.main(["up"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "emr-spark-8.1.0: Spark 4.1.1, Hadoop 3.4.2, Python 3.11, Java 17",
        "",
        "service   version                       address",
        "master    Spark 4.1.1                   http://127.0.0.1:18080  the cluster",
        "minio     RELEASE.2026-02-12T20-18-48Z  http://127.0.0.1:19000  S3",
        "",
        "workers   asked m5.xlarge: 4 vCPU, 16 GiB, YARN 12288 MB",
    ]
    keys = env_files.read(paths.ENV_FILE)
    assert set(keys) == set(credentials.SHORTEST)
    assert not any(value in out for value in keys.values())
    assert not any(value in call for value in keys.values() for call in machine.calls())


def test_a_warm_start_says_nothing_of_the_build_and_a_missing_image_is_built_in_view(machine, capfd):
    machine.write({"compose build": "building it all"})
    cli.main(["up"])
    assert "building" not in capfd.readouterr().out
    machine.write({"image inspect": OSError("No such image")})
    (paths.ROOT / "docker" / "base").write_text(f"echo the base >>{machine.folder}/calls\n")
    machine.program("sh", '#!/bin/sh\n. "$PWD/$1"\n')
    assert cli.main(["up"]) == 0
    out = capfd.readouterr().out
    assert "building emrlab/minio, emrlab/spark:x (the first time some minutes)\n" in out
    assert "building it all\n" in out
    (paths.ROOT / up.CERTIFICATES).unlink()
    machine.write({"image inspect": "sha256:1"})
    assert cli.main(["up"]) == 0
    calls = [call.split(" RELEASE")[0] for call in machine.calls()]
    assert calls.count("the base") == 2, "where an image is missing, and in a new checkout"
    assert calls.index("the base") < len(calls) - 1 - calls[::-1].index("compose build")


@pytest.mark.parametrize(
    ("command", "built"), [("up", "master minio"), ("emr-up", "master minio primary"), ("up --s3-only", "minio")]
)
def test_every_image_is_built_whichever_service_builds_it(machine, capsys, command, built):
    """The history server's image is built by the master, which the EMR lab has not got."""
    services = json.loads(json.dumps(SERVICES))
    for name in ("minio", "master", "primary"):
        services[name]["build"] = {"context": "."}
    machine.write(
        {
            "compose config --format json": json.dumps({"name": "lab-of-a-test", "services": services}),
            "compose ps": rows(history=row("history"), primary=row("primary")),
        }
    )
    assert cli.main(command.split()) == 0
    assert f"compose build {built}" in [call.split(" RELEASE")[0] for call in machine.calls()]


def test_certificates_that_are_named_after_a_build_has_failed_are_taken_along(tmp_path):
    """Behind a company's proxy the first build tells that they are wanted."""
    (tmp_path / "docker" / "certificates").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "docker" / "base", tmp_path / "docker")
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\n")  # the image is there
    (tmp_path / "bin" / "docker").chmod(0o755)
    (tmp_path / "first.pem").write_text("first")
    (tmp_path / "company.pem").write_text("the company's")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for named, made in (("first", "first"), ("company", "the company's"), ("", "the company's")):
        environment = os.environ | {"PATH": path, "SSL_CERT_FILE": named and f"{tmp_path}/{named}.pem"}
        subprocess.run(["sh", "docker/base"], cwd=tmp_path, env=environment, check=True)
        assert (tmp_path / "docker" / "certificates" / "host.pem").read_text() == made
    assert len(list((tmp_path / "docker" / "certificates").iterdir())) == 1


def test_a_build_that_fails_is_one_line(machine, capsys):
    machine.write({"compose build": OSError("#1 DONE\nERROR: failed to solve: exit code: 1\n")})
    assert failed(capsys, "up") == (1, "error: ERROR: failed to solve: exit code: 1\n")


def test_s3_alone_is_started_and_nothing_is_stopped_for_it(machine, capsys):
    machine.write({"compose ps": rows(primary=row("primary"))})
    assert cli.main(["up", "--s3-only"]) == 0
    calls = machine.calls()
    assert [call.split(" RELEASE")[0] for call in calls if call.startswith("compose up")] == [
        "compose up --detach --no-build --force-recreate minio secrets"
    ]
    assert not [call for call in calls if call.startswith("compose rm")]


def test_s3_alone_starts_whatever_has_become_of_the_others(machine, capsys):
    """As after a restart of the machine, which nothing of the EMR lab survives."""
    lost = row("primary", state="exited", health="", code=137)
    machine.write(
        {"compose ps": rows(master=row("master", health="unhealthy"), primary=lost), "compose logs": "killed"}
    )
    assert cli.main(["up", "--s3-only"]) == 0
    machine.write({"compose up": OSError("no such network")})
    assert failed(capsys, "up", "--s3-only") == (1, "error: no such network\n")


def test_env_has_what_a_client_needs(machine, capsys, monkeypatch):
    machine.write({"compose ps": rows(emr=row("emr", ports=[(5000, 15050)]))})
    keys = credentials.ensure(paths.ENV_FILE)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv("no_proxy", ".corp, 10.0.0.1")
    assert cli.main(["env"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "AWS_ENDPOINT_URL_S3=http://127.0.0.1:19000",
        "AWS_ENDPOINT_URL_EMR=http://127.0.0.1:15050",
        "AWS_REGION=eu-west-3",
        "AWS_DEFAULT_REGION=eu-west-3",
        f"AWS_ACCESS_KEY_ID={keys['DATA_ACCESS_KEY_ID']}",
        f"AWS_SECRET_ACCESS_KEY={keys['DATA_SECRET_ACCESS_KEY']}",
        "AWS_SESSION_TOKEN=",
        "no_proxy=.corp,10.0.0.1,127.0.0.1,localhost",
        "NO_PROXY=.corp,10.0.0.1,127.0.0.1,localhost",
    ]
    assert cli.main(["env", "--root"]) == 0
    assert keys["MINIO_ROOT_PASSWORD"] in capsys.readouterr().out


def test_env_of_a_lab_that_is_down_or_without_keys_is_one_line(machine, capsys):
    assert failed(capsys, "env") == (2, f"error: {paths.ENV_FILE} has no DATA_ACCESS_KEY_ID; make up makes it\n")
    machine.write({"compose ps": ""})
    assert failed(capsys, "env") == (2, "error: the lab is not running; start it: make up\n")


def test_compose_is_told_release_and_size(machine, capsys):
    assert cli.main(["up", "--release", "emr-7.14.0", "--instance-type", "r5.2xlarge"]) == 0
    assert "emr-7.14.0: Spark 3.5.8," in capsys.readouterr().out
    (started,) = [call for call in machine.calls() if call.startswith("compose up")]
    assert started == (
        "compose up --detach --no-build --force-recreate history master minio secrets RELEASE=emr-7.14.0 WORKER_CPUS=8"
    )


def test_a_docker_that_cannot_limit_cpus_is_asked_for_none(machine, capsys):
    """As a rootless one without the cpu controller, which refuses: NanoCPUs can not be set."""
    machine.write({"info --format": f"8|{64 * 1024**3}|false|{machine.folder}"})
    assert cli.main(["up"]) == 0
    assert capsys.readouterr().err == (
        "warning: this Docker cannot limit a container's CPUs; workers take what they get\n"
    )
    (started,) = [call for call in machine.calls() if call.startswith("compose up")]
    assert started.endswith(" WORKER_CPUS=0")


def test_a_small_host_is_said_and_asked_for_no_more_than_it_has():
    host = sizing.Host(cpus=2, memory_mb=23 * 1024)
    asked = sizing.instance("m5.xlarge")
    told = up.variables(releases.find(), asked=asked, given=sizing.worker(asked, host), cpus=2)
    assert told == {
        "RELEASE": "emr-spark-8.1.0",
        "INSTANCE_TYPE": "m5.xlarge",
        "WORKER_CPUS": "2",
        "WORKER_MEMORY_LIMIT": "9728m",
        "PRIMARY_MEMORY_LIMIT": "9728m",
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": "7296m",
    }


def test_an_empty_variable_gives_way_to_the_env_file_for_compose_too(machine, monkeypatch, tmp_path):
    """make exports those that nobody sets: the doctor looked at the ports of `.env`, and Compose took its defaults."""
    machine.program("docker", '#!/bin/sh\necho "${S3_PORT-unset} ${CONSOLE_PORT-unset} ${HISTORY_PORT-unset}"\n')
    paths.ENV_FILE.write_text("S3_PORT=9100\nCONSOLE_PORT=9101\n")
    for name, value in {"S3_PORT": "", "CONSOLE_PORT": "0", "HISTORY_PORT": ""}.items():
        monkeypatch.setenv(name, value)
    assert compose.call("up") == "unset 0 \n"
    assert compose.call("up", environment={"S3_PORT": "7"}) == "7 0 \n"


def test_an_empty_variable_is_the_default(machine, capsys, monkeypatch):
    monkeypatch.setenv("RELEASE", "")
    assert cli.main(["up", "--release", "", "--instance-type", ""]) == 0
    assert capsys.readouterr().out.startswith("emr-spark-8.1.0")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ["up", "--release", "emr-8.1.0"],
            "error: RELEASE=emr-8.1.0 is not in releases.toml; choose one of emr-spark-8.1.0, emr-spark-8.0.0, "
            "emr-7.14.0, emr-7.13.0\n",
        ),
        (["up", "--instance-type", "moon.xlarge"], "error: INSTANCE_TYPE=moon.xlarge is not known; choose one of m5."),
        (["fly"], "error: argument COMMAND: invalid choice: 'fly'"),
        ([], "error: the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(machine, capsys, args, line):
    code, error = failed(capsys, *args)
    assert code == 2
    assert error.startswith(line)
    assert not machine.calls(), "Docker is not asked"


def test_a_release_out_of_support_is_warned_of():
    release = releases.find("emr-7.14.0")
    assert releases.warnings(release, today=release.support_ends) == []
    assert releases.warnings(release, today=date(2030, 1, 1)) == [
        "emr-7.14.0 is out of EMR's standard support since 2028-09-08; choose a newer RELEASE"
    ]


def test_a_release_with_a_known_hole_is_warned_of(machine, capsys):
    assert cli.main(["up", "--release", "emr-7.13.0"]) == 0
    assert "warning: emr-7.13.0: its Spark 3.5.6 has CVE-2025-54920: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "down", "clean", "env", "logs", "shell"])
def test_without_a_daemon_every_command_says_so(machine, capsys, command):
    machine.write({"version --format": OSError("Cannot connect to the Docker daemon at unix:///x")})
    code, error = failed(capsys, command)
    assert code == 1
    assert error.startswith(
        "error: the Docker daemon does not answer: Cannot connect to the Docker daemon at unix:///x"
    )
    assert error.endswith("; start Docker Desktop, or: sudo systemctl start docker\n")


def test_logs_are_those_of_both_labs(machine, capfd):
    """Compose alone leaves out what has a profile: the nodes and the endpoint of the EMR lab."""
    machine.write({"compose --profile * logs": "primary | YARN starts"})
    assert cli.main(["logs"]) == 0
    assert capfd.readouterr().out == "primary | YARN starts\n"


def test_logs_of_no_lab_are_no_silence(machine, capsys):
    machine.write({"compose ps": ""})
    assert failed(capsys, "logs") == (
        2,
        "error: the lab is not running, so that no service says anything; start it: make up\n",
    )


def test_a_taken_port_is_found_before_anything_starts(machine, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setenv("MASTER_UI_PORT", str(taken))
        code, error = failed(capsys, "up")
    assert code == 1
    assert error.startswith(f"error: port {taken} is taken by another program; ")
    assert not any(call.startswith("compose up") for call in machine.calls())


@pytest.mark.parametrize(("command", "other"), [("up", "YARN_UI_PORT"), ("emr-up", "MASTER_UI_PORT")])
def test_only_the_ports_of_what_is_started_must_be_free(machine, capsys, monkeypatch, command, other):
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = held.getsockname()[1]
        monkeypatch.setenv(other, str(taken))
        assert cli.main([command]) == 0
        monkeypatch.setenv("S3_PORT", str(taken))
        assert failed(capsys, command)[1].endswith("make up S3_PORT=0, or the same with make emr-up\n")


@pytest.mark.parametrize("command", ["up", "emr-up"])
def test_a_port_that_is_no_number_is_named_whoever_publishes_it(machine, capsys, monkeypatch, command):
    """Compose refuses the whole file for it, and does not say which variable it is."""

    def written(environment):
        if environment.get("YARN_UI_PORT") != "0":
            raise DockerError("Invalid hostPort: eighty")
        return {"services": SERVICES}

    monkeypatch.setattr(docker, "written", written)
    paths.ENV_FILE.write_text("YARN_UI_PORT=eighty\n")
    line = "error: YARN_UI_PORT=eighty is no port; give a number from 0 to 65535\n"
    assert failed(capsys, command) == (1, line)


@pytest.mark.parametrize(
    ("command", "started", "stopped", "back"),
    [
        ("up", "history master minio secrets", "primary", "make emr-up"),
        ("emr-up", "history minio primary secrets", "master", "make up"),
    ],
)
def test_the_lab_and_the_emr_lab_make_room_for_each_other(machine, capsys, command, started, stopped, back):
    machine.write({"compose ps": rows(history=row("history"), primary=row("primary"))})
    assert cli.main([command]) == 0
    line, *_ = capsys.readouterr().out.splitlines()
    assert line == f"stopping {stopped}: their memory is needed; {back} starts them again"
    calls = [call.split(" RELEASE")[0] for call in machine.calls()]
    removed = calls.index(f"compose rm --stop --force {stopped}")
    (begun,) = [number for number, call in enumerate(calls) if call.startswith("compose up")]
    assert calls[begun].endswith(f" {started}")
    assert calls.index("compose build") < removed < begun


def test_where_the_other_is_not_there_nothing_is_stopped(machine, capsys):
    assert cli.main(["up"]) == 0
    assert "stopping" not in capsys.readouterr().out
    assert not any(call.startswith("compose rm") for call in machine.calls())


def test_a_port_that_docker_finds_taken_is_named_too(machine, capsys):
    port = docker.ports()[0]
    said = f"driver failed: Bind for 127.0.0.1:{port.default} failed: port is already allocated"
    machine.write({"compose up": OSError(said)})
    code, error = failed(capsys, "up")
    assert code == 1
    assert error == (
        f"error: port {port.default} is taken by another program; choose another, or 0 for any free one: "
        "make up S3_PORT=0, or the same with make emr-up\n"
    )


def test_an_unhealthy_service_is_named_with_the_line_that_tells(machine, capsys):
    machine.write(
        {
            "compose up": OSError("dependency failed to start: container emrlab-minio-1 is unhealthy"),
            "compose ps": rows(
                minio=row("minio", health="unhealthy"), master=row("master", state="created", health="")
            ),
            "compose logs": "starting\n\x1b[2KFATAL: the \x1b[31mdisk is full\nbye",
        }
    )
    assert failed(capsys, "up") == (
        1,
        "error: minio is unhealthy: FATAL: the disk is full; make logs shows more\n",
    )


def test_a_one_shot_that_fails_is_named_with_its_exit_code(machine, capsys):
    machine.write(
        {
            "compose ps": rows(secrets=row("secrets", state="exited", health="", code=2)),
            "compose logs": "error: JOB_ACCESS_KEY_ID in /project/.env has 0 characters",
        }
    )
    assert failed(capsys, "up") == (
        1,
        "error: secrets exited with code 2: error: JOB_ACCESS_KEY_ID in /project/.env has 0 characters; "
        "make logs shows more\n",
    )


def test_a_service_that_ended_without_being_asked_is_a_failure(machine, capsys):
    machine.write({"compose ps": rows(master=row("master", state="exited", health=""))})
    code, error = failed(capsys, "up")
    assert code == 1
    assert error == "error: master exited with code 0: its log is empty; make logs shows more\n"


def test_a_service_that_never_gets_healthy_is_given_up(machine, capsys, monkeypatch):
    monkeypatch.setattr(up, "START_TIMEOUT_S", 1)
    machine.write({"compose ps": rows(master=row("master", health="starting")), "compose logs": "waiting for minio"})
    code, error = failed(capsys, "up")
    assert code == 1
    assert error == "error: not ready after 1 s: master is starting: waiting for minio; make logs shows more\n"


def test_compose_1_lists_in_one_array(machine, capsys):
    machine.write({"compose ps": "[" + ",".join(rows().splitlines()) + "]"})
    assert [service.name for service in compose.services()] == ["secrets", "minio", "master"]


def test_every_port_of_compose_yaml_is_shown_with_what_stands_behind_it():
    published = {port.target: number for number, port in enumerate(docker.ports(), start=9000)}
    every = compose.Service(name="all", state="running", published=published)
    addresses = re.findall(r"https?://127\.0\.0\.1:(\d+)  \S+", up.table([every], releases.find()))
    assert sorted(map(int, addresses)) == sorted(published.values())


def test_new_keys_make_every_service_anew(machine, capsys):
    """One that runs knows only the keys that it was started with."""
    cli.main(["up"])
    cli.main(["up"])
    first, second = [call for call in machine.calls() if call.startswith("compose up")]
    assert "--force-recreate" in first
    assert "--force-recreate" not in second


def test_a_shell_is_the_masters_or_the_emr_labs_primarys(machine, capsys):
    machine.write({"compose ps": ""})
    assert failed(capsys, "shell") == (2, "error: the lab is not running; start it: make up\n")
    for node in ("master", "primary"):
        machine.write({"compose ps": row(node), "compose exec": ""})
        assert cli.main(["shell"]) == 0
        assert machine.calls()[-1].startswith(f"compose exec {node} bash")


def test_a_node_is_taken_away_by_the_endpoint_itself(machine, capsys):
    machine.write({"compose ps": ""})
    assert failed(capsys, "emr-chaos") == (2, "error: the EMR lab is not running; start it: make emr-up\n")
    running = rows(emr=row("emr"))
    machine.write({"compose ps": running, "compose exec": ""})
    assert cli.main(["emr-chaos", "--node", "core-2", "--notice-s", "20"]) == 0
    asked = next(call for call in machine.calls() if call.startswith("compose exec"))
    command = "compose exec -T emr python -m emr_lab.endpoint.interrupt --node core-2 --notice-s 20"
    assert asked.partition(" RELEASE=")[0] == command
    assert failed(capsys, "emr-chaos", "--after-s", "soon")[0] == 2


@pytest.mark.parametrize("command", ["up", "emr-up", "emr-chaos", "down", "clean", "env", "logs", "shell", "doctor"])
def test_help_reads_well_at_eighty_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_bill_of_materials_of_every_image(machine, capsys):
    machine.write({"image ls": "emrlab/spark:x\nemrlab/minio:latest", "buildx build": ""})
    assert cli.main(["sbom"]) == 0
    assert capsys.readouterr().out == ("out/sbom/emrlab-minio-latest.cdx.json\nout/sbom/emrlab-spark-x.cdx.json\n")
    assert len([call for call in machine.calls() if "IMAGE=emrlab/" in call]) == 2


def test_no_image_has_no_bill_of_materials(machine, capsys):
    machine.write({"image ls": ""})
    assert failed(capsys, "sbom") == (2, "error: no image of the lab is built; build them: make up\n")
