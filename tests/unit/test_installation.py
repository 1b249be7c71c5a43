"""What a wheel holds, the command `emrlab` in it, and where an installation keeps what it makes."""

import argparse
import os
import subprocess
import sys
import tomllib
import zipfile

import pytest

from base import command_line
from base.paths import ROOT
from data import __main__ as data
from data import shards
from emrlab import __main__ as emrlab
from lab import __main__ as lab
from launch import __main__ as launch
from launch.emr.aws import SETUP
from tests.installation import installed, wheel

__all__ = ["installed", "wheel"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def emrlab_in(installed, tmp_path):
    """Run the command in an empty folder of a user who has nothing else; the answer."""
    place = tmp_path / "place"
    place.mkdir()

    def run(*args, **environment):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "COMPOSE_"))}
        own = {"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "emrlab", *args]
        return subprocess.run(
            command, cwd=place, env=kept | own | environment, capture_output=True, text=True, check=False
        )

    return run


def test_the_wheel_holds_what_runs_and_nothing_else(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert all(name.startswith("emrlab/") for name in names), "a user's own packages are never met"
    tops = {name.split("/")[1] for name in names}
    wanted = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert tops == {name.split("/")[0] for name in wanted} | {path.name for path in (ROOT / "emrlab").glob("*.py")}
    ours = {
        f"emrlab/{path.relative_to(ROOT)}" for room in ("base", "lab", "launch") for path in (ROOT / room).rglob("*.py")
    }
    assert ours <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".pem", ".crt", "/.env"))]


def test_its_metadata_name_the_command_and_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    texts = {
        name.rsplit("/", 1)[1]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name
    }
    assert "emrlab = emrlab.__main__:run" in texts["entry_points.txt"]
    needed = [line for line in texts["METADATA"].splitlines() if line.startswith("Requires-Dist: ")]
    assert [line for line in needed if line.startswith("Requires-Dist: pyspark==")]
    assert not [line for line in needed if "tensorflow" in line and "extra == 'images'" not in line]


def test_every_command_has_one_place():
    """Where `emrlab` looks for a command, and what the programs' own parsers have, are the same."""
    for module, program in (("lab.__main__", lab), ("launch.__main__", launch)):
        commands = argparse.ArgumentParser().add_subparsers(parser_class=command_line.Parser)
        program.add_commands(commands)
        assert set(commands.choices) == set(emrlab.PROGRAMS[module])


def test_it_answers_in_any_folder(emrlab_in, tmp_path):
    assert emrlab_in("version").stdout == f"emrlab {PROJECT['project']['version']}\n"
    assert emrlab_in("--version").stdout == emrlab_in("version").stdout
    helped = emrlab_in("--help")
    assert helped.returncode == 0
    assert emrlab_in().stdout == helped.stdout
    for command in [*(name for names in emrlab.PROGRAMS.values() for name in names), *emrlab.ALONE]:
        assert f"    {command}" in helped.stdout
    assert emrlab_in("up", "--help").stdout.startswith("usage: emrlab up ")
    assert emrlab_in("shards", "--help").stdout.startswith("usage: emrlab shards ")
    wrong = emrlab_in("fly")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "'fly'" in wrong.stderr
    assert not list((tmp_path / "place").iterdir())


def test_a_plan_needs_no_checkout(emrlab_in):
    plan = emrlab_in("emr-plan", "--bucket", "b-1", "--input", "s3://b-1/images/a", "--output", "s3://b-1/results/a")
    assert plan.returncode == 0, plan.stderr
    assert '"ReleaseLabel"' in plan.stdout


def test_what_compose_works_on_is_readable_for_containers_and_follows_the_installation(emrlab_in, installed, tmp_path):
    closed = installed / "emrlab" / "docker" / "healthcheck"
    closed.chmod(0o700)
    state = tmp_path / "state"
    assert emrlab_in("doctor", XDG_STATE_HOME=str(state), PATH="").returncode == 1
    folder = state / "emrlab" / "lab"
    assert (folder / "compose.yaml").read_bytes() == (ROOT / "compose.yaml").read_bytes()
    assert (folder / "docker" / "healthcheck").stat().st_mode & 0o777 == 0o755
    assert (folder / "docker" / "node" / "Dockerfile").stat().st_mode & 0o777 == 0o644
    assert not (folder / "launch" / "__main__.py").exists(), "no build sees it"
    for name in ("docker/certificates/host.pem", ".env", "lab/old.py", "policies/job.json"):
        (folder / name).write_text("S3_PORT=0\n")
    emrlab_in("doctor", XDG_STATE_HOME=str(state), PATH="")
    assert (folder / "docker" / "certificates" / "host.pem").exists()
    assert (folder / ".env").read_text() == "S3_PORT=0\n"
    assert not (folder / "lab" / "old.py").exists()
    assert (folder / "policies" / "job.json").read_bytes() == (ROOT / "policies" / "job.json").read_bytes()


def test_a_folder_that_is_gone_is_one_line(installed, tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"cd {tmp_path}/gone && rmdir ../gone && exec {sys.executable} -m emrlab doctor"
    ran = subprocess.run(
        ["sh", "-c", script],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    line = "error: the current folder is gone; change into another one, and run again\n"
    assert (ran.returncode, ran.stderr) == (1, line)


def test_a_compose_file_of_the_users_own_is_none_of_the_labs(emrlab_in, tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    words = "$COMPOSE_PROJECT_NAME: $COMPOSE_FILE$COMPOSE_ENV_FILES"
    docker.write_text(f'#!/bin/sh\necho "{words}" >>{tmp_path}/calls\nexit 1\n')
    docker.chmod(0o755)
    emrlab_in("clean", COMPOSE_FILE="/shop/compose.yaml", COMPOSE_ENV_FILES="/shop/.env", PATH=str(docker.parent))
    assert set((tmp_path / "calls").read_text().splitlines()) == {"emrlab-user: "}


def test_a_folder_that_cannot_be_written_is_one_line(emrlab_in, tmp_path):
    (tmp_path / "file").touch()
    ran = emrlab_in("doctor", XDG_STATE_HOME=str(tmp_path / "file"))
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "file") in ran.stderr


@pytest.mark.parametrize(
    ("made", "typed"),
    [
        ("run: make up (make logs shows more)", "run: emrlab up (emrlab logs shows more)"),
        ("make up S3_PORT=0, or the same with make emr-up", "S3_PORT=0 emrlab up, or the same with emrlab emr-up"),
        ("make emr-run TARGET=emr-lab YES=1 starts it", "emrlab emr-run --target emr-lab --yes starts it"),
        ("make logs SERVICE=emr tells why", "emrlab logs emr tells why"),
        (f"a role is missing; run {SETUP}", "a role is missing; run emrlab emr-setup"),
        ("measure it with make bench; these make no sense", "measure it with make bench; these make no sense"),
    ],
)  # fmt: skip
def test_a_message_names_commands_as_this_user_types_them(monkeypatch, capsys, made, typed):
    monkeypatch.setattr(command_line, "_installed", set[str]())
    command_line.fail(made)
    command_line.speak_as_installed(["up", "logs", "emr-up", "emr-run", "emr-setup"])
    command_line.fail(made)
    assert capsys.readouterr().err == f"error: {made}\nerror: {typed}\n"


@pytest.mark.parametrize(("program", "name"), [(data.main, "emrlab data"), (shards.main, "emrlab shards")])
def test_an_installations_help_names_no_module(capsys, program, name):
    with pytest.raises(SystemExit, match="0"):
        program(["--help"], prog=name)
    said = capsys.readouterr().out
    assert f"    {name} " in said
    assert "python -m" not in said


def test_an_installation_keeps_its_prices(emrlab_in, installed):
    table = installed / "emrlab" / "launch" / "emr" / "prices.toml"
    before = table.read_bytes()
    asked = emrlab_in("emr-prices")
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)
    assert "in a checkout" in asked.stderr
    assert table.read_bytes() == before
