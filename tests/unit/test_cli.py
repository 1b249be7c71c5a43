"""`python -m launch`, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.paths import ROOT
from launch import __main__ as cli
from launch import image_job, package, submit, targets
from pipeline.settings import Settings, from_args

GIVEN = ["run", "--input", "in", "--output", "out"]


def built(cache):
    return package.build(image_job.ENTRY, [image_job.PACKAGE], cache=cache)


def launch(*args, **environment):
    command = [sys.executable, "-m", "launch", *args]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_help_reads_well_at_eighty_columns():
    text = launch("run", "--help", COLUMNS="80").communicate()[0]
    for flag in ("--input", "--output", "--model", "--weights", "--image-size", "--components", "--max-rejected"):
        assert flag in text
    assert max(map(len, text.splitlines())) <= 80
    assert "--live" not in text, "what only the program sets is not offered"


def test_explain_prints_every_setting_with_its_reason(capsys):
    assert cli.main([*GIVEN, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    settings = targets.local([], own=targets.IMAGES)
    assert len(lines) == 2 * len(settings)
    assert lines[0] == f"{settings[0].key} = {settings[0].value}"
    assert all(line.startswith("    ") and line.strip() for line in lines[1::2])
    assert not any("fs.s3a" in line for line in lines)
    assert cli.main(["run", "--input", "s3://b/x", "--output", "out", "--explain"]) == 0
    assert "fs.s3a.committer.name = magic" in capsys.readouterr().out


def test_an_empty_token_is_none(monkeypatch):
    """`make env` leaves AWS_SESSION_TOKEN empty, and some clients would send that."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    assert cli.main([*GIVEN, "--explain"]) == 0
    assert "AWS_SESSION_TOKEN" not in os.environ


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "--output", "out"], "--input"),
        ([*GIVEN, "--image-size", "0"], "--image-size: '0' is no edge in pixels; give a whole number from 8 to 4096"),
        ([*GIVEN, "--target", "moon"], "--target"),
        (
            [*GIVEN, "--target", "emr-lab"],
            "clusters, which take the same as a step: make emr-run TARGET=emr-lab; --help",
        ),
        ([*GIVEN, "--model", "resnet"], "resnet"),
        ([*GIVEN, "--model", "gone.keras"], "--model gone.keras: no such file"),
        ([*GIVEN, "--output", "in/out"], "lies inside --input"),
        (
            ["run", "job.py", "--rows", "100"],
            "--rows is none of this command's; the arguments of JOB job.py follow behind --",
        ),
        ([*GIVEN, "--rows", "100"], "unrecognized arguments: --rows; --help lists the options"),
        (["fly"], "fly"),
        ([], "COMMAND"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(args, words, capsys):
    assert cli.main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert len(error.splitlines()) == 1


def test_without_java_one_line_says_how_to_get_it(tmp_path):
    ran = launch(*GIVEN, JAVA_HOME=str(tmp_path))
    text = ran.communicate()[0]
    assert ran.returncode == 2
    assert text.startswith(f"error: JAVA_HOME={tmp_path} has no bin/java; Spark needs Java 17")
    assert len(text.splitlines()) == 1


def test_the_package_has_the_same_bytes_for_the_same_sources(tmp_path):
    first, second = built(tmp_path / "a"), built(tmp_path / "b")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.sha256 == second.sha256
    assert first.main.read_bytes() == (ROOT / "pipeline" / "main.py").read_bytes()


def test_the_argument_list_gives_the_job_its_settings_back(tmp_path):
    settings = Settings(input="/in", output="/out", model="/m.tflite", components=3)
    packed = built(tmp_path)
    jars = [Path("/a.jar"), Path("/b.jar")]
    args = submit.arguments(
        packed.main, archive=packed.archive, job_args=settings.to_args(), conf=targets.local([]), jars=jars
    )
    assert from_args(args[args.index(str(packed.main)) + 1 :]) == settings
    assert args[args.index("--jars") + 1] == "/a.jar,/b.jar"
    assert args[args.index("--py-files") + 1] == str(packed.archive)


def test_no_secret_is_among_the_settings(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    said = targets.explain(targets.local(["s3://bucket/x"]))
    assert "the-key" not in said
    assert "the-secret" not in said
