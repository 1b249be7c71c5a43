"""`python -m lab down` and `clean`: what they remove, and whose it is."""

import pytest

from base import paths
from data import __main__ as data
from lab import __main__ as cli
from lab import credentials, docker
from launch import __main__ as launch
from tests.unit.test_doctor import machine
from tests.unit.test_lab_up import failed

__all__ = ["machine"]


def test_down_keeps_the_data(machine, capsys):
    machine.write({"compose --profile * down": ""})
    assert cli.main(["down"]) == 0
    assert "the data stay" in capsys.readouterr().out
    assert "--volumes" not in machine.calls()[-1]


# What Docker answers where nothing is left of any lab.
CLEAN = {"compose --profile * down": "", "ps --all": "", "volume ls --quiet": "", "volume ls --format": ""}


def test_clean_says_what_it_removes(machine, capsys):
    machine.write(CLEAN | {"ps --all": "lab-minio-1\nlab-master-1", "volume ls --quiet": "lab_s3-data"})
    machine.write({"container inspect": "emrlab/minio\nemrlab/spark:x"})
    credentials.ensure(paths.ENV_FILE)
    paths.ENV_FILE.write_text("S3_PORT=0\n" + paths.ENV_FILE.read_text())
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "removed containers: lab-master-1, lab-minio-1",
        "removed volumes: lab_s3-data",
        f"removed keys: {paths.ENV_FILE}",
    ]
    assert paths.ENV_FILE.read_text() == "S3_PORT=0\n"
    assert any("down --volumes --remove-orphans" in call for call in machine.calls())
    asked = [call for call in machine.calls() if call.startswith(("ps", "volume ls --quiet"))]
    assert all("label=com.docker.compose.project=lab-of-a-test" in call for call in asked)


def test_clean_names_the_volumes_that_go_those_of_the_emr_lab_among_them(machine, capsys, monkeypatch):
    """Compose names these with their profile alone; others of the project's label stay, and are not said to be gone."""

    def written(environment=None):
        named = ["s3-data", *["primary-data"] * ((environment or {}).get("COMPOSE_PROFILES") == "*")]
        return {"name": "shop", "services": {}, "volumes": {name: {"name": f"shop_{name}"} for name in named}}

    monkeypatch.setattr(docker, "written", written)
    machine.write(CLEAN | {"volume ls --quiet": "shop_s3-data\nshop_primary-data\nshop_orders"})
    assert cli.main(["clean"]) == 0
    assert "removed volumes: shop_primary-data, shop_s3-data\n" in capsys.readouterr().out


def test_clean_where_nothing_is(machine, capsys):
    machine.write(CLEAN)
    assert cli.main(["clean", "--images"]) == 0
    assert capsys.readouterr().out == (
        "removed containers: none\nremoved volumes: none\nremoved keys: none\nremoved images: those of compose.yaml\n"
    )
    assert any("--rmi all" in call for call in machine.calls())


def test_clean_keeps_the_keys_that_the_data_of_another_lab_may_need(machine, capsys):
    keys = credentials.ensure(paths.ENV_FILE)
    machine.write(CLEAN | {"volume ls --format": "another-lab\na-third"})
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "removed keys: none",
        f"kept keys: {paths.ENV_FILE}, for the data of a-third, another-lab may need them",
    ]
    assert credentials.ensure(paths.ENV_FILE) == keys


def test_clean_that_fails_keeps_the_keys_to_what_is_left(machine, capsys):
    keys = credentials.ensure(paths.ENV_FILE)
    machine.write(CLEAN | {"compose --profile * down": OSError("volume is in use")})
    assert failed(capsys, "clean") == (1, "error: volume is in use\n")
    assert credentials.ensure(paths.ENV_FILE) == keys


@pytest.mark.parametrize("command", ["up", "emr-up", "down", "clean"])
def test_a_project_with_containers_of_another_program_is_left_alone(machine, capsys, command):
    """As where COMPOSE_PROJECT_NAME is set for a project of the user's own: Compose would take them for ours."""
    machine.write({"ps --all": "lab-minio-1\nshop-db-1", "container inspect": "emrlab/minio\npostgres:17"})
    assert failed(capsys, command) == (
        2,
        "error: the Compose project lab-of-a-test has the container shop-db-1 of another program; unset "
        "COMPOSE_PROJECT_NAME, or give a name that is the lab's alone\n",
    )
    words = ("compose up", "compose rm", "compose --profile")
    assert not [call for call in machine.calls() if call.startswith(words)]
    assert not paths.ENV_FILE.exists()


@pytest.mark.parametrize("command", ["up", "emr-up", "down", "clean"])
def test_the_lab_of_another_checkout_is_left_alone(machine, capsys, tmp_path, command):
    """It has the same name and other keys: it would be started anew, its job ended, its data removed from here."""
    other = tmp_path / "my other checkout"
    other.mkdir()
    (other / "compose.yaml").touch()
    machine.write({"ps --all": "lab-minio-1", "container inspect": f"emrlab/minio {other}"})
    assert failed(capsys, command) == (
        2,
        f"error: the Compose project lab-of-a-test is the lab of {other}; make down there, or let this one have its "
        f"own: COMPOSE_PROJECT_NAME=lab-of-a-test-2 in {paths.ENV_FILE}\n",
    )
    words = ("compose up", "compose rm", "compose --profile")
    assert not [call for call in machine.calls() if call.startswith(words)]
    assert not paths.ENV_FILE.exists()


def test_another_checkout_that_starts_its_lab_while_this_one_builds_keeps_it(machine, capsys, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "compose.yaml").touch()
    meanwhile = {"ps --all": "lab-minio-1", "container inspect": f"emrlab/minio {other}"}
    monkeypatch.setattr("lab.up._build", lambda *_, **__: machine.write(meanwhile))
    code, error = failed(capsys, "up")
    assert (code, f"is the lab of {other}; make down there" in error) == (2, True)
    assert not [call for call in machine.calls() if call.startswith(("compose up", "compose rm"))]


def test_the_lab_of_a_checkout_that_was_moved_or_removed_is_this_ones(machine, capsys, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path / "gone", tmp_path / "compose.yaml", tmp_path / "link"):
        machine.write(CLEAN | {"ps --all": "lab-minio-1", "container inspect": f"emrlab/minio {folder}"})
        assert cli.main(["down"]) == 0


@pytest.mark.parametrize(
    ("main", "args"),
    [
        (cli.main, ["clean"]),
        (
            launch.main,
            ["run", "--target", "lab", "--input", "s3://emrlab/images/a", "--output", "s3://emrlab/results/a"],
        ),
        (data.main, ["photos.zip", "--dest", "s3://emrlab/images/a"]),
    ],
    ids=["lab", "launch", "data"],
)
def test_a_compose_file_that_the_shell_names_is_none_of_the_labs(machine, monkeypatch, tmp_path, main, args):
    """A project of the user's own would be removed with its volumes where none of its containers is left to tell."""
    for name in ("COMPOSE_FILE", "COMPOSE_ENV_FILES"):
        monkeypatch.setenv(name, f"/shop/{name}")
    said = "$COMPOSE_FILE$COMPOSE_ENV_FILES"
    machine.program("docker", f'#!/bin/sh\necho "$1: {said}" >>{tmp_path}/said\nexit 1\n')
    assert main(args) != 0
    calls = (tmp_path / "said").read_text().splitlines()
    assert calls
    assert all(call.endswith(": ") for call in calls)
