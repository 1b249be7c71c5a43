"""`emr-plan` beside the run that it plans, what is told before anything is asked, and the EMR lab at moto."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

from launch.emr import request
from tests.emr.conftest import BUCKET
from tests.emr.machinery import ENDING, Machinery, keys, place, put

ROOT = Path(__file__).parents[2]


def test_a_plan_is_what_a_run_asks_for(ready, launch, run_args, monkeypatch):
    sent = []
    take = request.run_job_flow

    def keep(*given, **more):
        sent.append(take(*given, **more))
        return sent[-1]

    monkeypatch.setattr(request, "run_job_flow", keep)
    with Machinery():
        assert launch(*run_args)[0] == 0
    (asked,) = sent
    planned = planned_request(launch("emr-plan", *run_args[1:])[1])
    subnets = asked["Instances"]["Ec2SubnetIds"]
    assert len(subnets) == 3, "one in every zone"
    planned["Instances"]["Ec2SubnetIds"] = subnets
    both = [json.dumps(each, sort_keys=True) for each in (planned, asked)]
    model = next(arg for arg in asked["Steps"][0]["HadoopJarStep"]["Args"] if arg.endswith(".tflite"))
    both[0] = both[0].replace(f"s3://{BUCKET}/artifacts/models/SHA256/lite0-224.tflite", model)
    wheels = asked["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"]
    known = planned["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"]
    both[0] = both[0].replace(known[0], wheels[0]).replace(known[1], wheels[1])
    assert both[0] == both[1]


def planned_request(text):
    """The JSON below the first heading of emr-plan."""
    return json.JSONDecoder().raw_decode(text.partition("\n")[2])[0]


def test_a_plan_needs_no_credentials_and_no_network(launch, photos, monkeypatch):
    def closed(*_, **__):
        raise AssertionError("a plan calls nothing")

    monkeypatch.setattr(socket.socket, "connect", closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    code, out, error = launch("emr-plan", "--bucket", "mine", "--input", str(photos), "--output", "out/run")
    assert (code, error) == (0, "")
    assert planned_request(out)["Instances"]["Ec2SubnetIds"] == ["SUBNETS"]
    for words in ("AmazonEMRServicePolicy_v2", "elasticmapreduce:RunJobFlow", "estimate    $0.", "images      6,"):
        assert words in out


def test_a_plan_shows_no_secret(launch, photos):
    given = ("--conf", "spark.hadoop.fs.s3a.secret.key=hunter2")
    code, out, _ = launch("emr-plan", "--bucket", "mine", "--input", str(photos), "--output", "out/run", *given)
    assert code == 0
    assert "spark.hadoop.fs.s3a.secret.key=" in out
    assert "hunter2" not in out


def test_a_plan_for_photographs_in_a_bucket_says_what_it_assumes(launch):
    code, out, _ = launch(
        "emr-plan", "--bucket", "mine", "--input", "s3://mine/images/x", "--output", "s3://mine/results/x"
    )
    assert code == 0
    assert "for 10,000 photographs: a plan does not look into the bucket" in out


def put_docker_on_path(monkeypatch, folder, *lines):
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text("\n".join(["#!/bin/sh", *lines]))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_labs_plan_needs_neither_bucket_nor_address(launch, photos, tmp_path, monkeypatch):
    put_docker_on_path(monkeypatch, tmp_path / "bin", f"echo 8 {64 * 1024**3}")
    code, out, _ = launch("emr-plan", "--target", "emr-lab", "--input", str(photos), "--output", "out/run")
    assert code == 0
    found = planned_request(out)
    assert found["LogUri"] == "s3://emrlab/emrlab-logs/"
    assert "Ec2SubnetIds" not in found["Instances"]
    assert "estimate    nothing, the EMR lab is free; on AWS the same run would cost $0." in out


def test_a_run_in_the_emr_lab_says_that_it_is_free_and_mirrors_the_folder(
    ready, launch, run_args, photos, tmp_path, monkeypatch
):
    there = place(photos, in_emr_lab=True)
    put_docker_on_path(monkeypatch, tmp_path / "bin", f"echo 8 {64 * 1024**3}")
    put(there, "Kiwi/9.jpg")
    with Machinery():
        code, out, error = launch(*run_args, "--target", "emr-lab")
    assert code == 0
    assert error == f"6 files in s3://{BUCKET}/{there}: 6 sent, 1 removed\n", "the lab's place is a mirror"
    assert f"{there}/Kiwi/9.jpg" not in keys(f"{there}/")
    assert out.startswith("estimate    nothing, the EMR lab is free; on AWS the same run would cost $0.")
    assert f"{ENDING}cost        nothing, the EMR lab is free; on AWS these " in out
    record = json.loads((tmp_path / "here" / "emr.json").read_text())
    assert record["billed"] is False


def test_the_labs_plan_without_docker_is_one_line(launch, photos, tmp_path, monkeypatch):
    put_docker_on_path(monkeypatch, tmp_path / "bin", "echo Is the docker daemon running? >&2", "exit 1")
    code, _, error = launch("emr-plan", "--target", "emr-lab", "--input", str(photos), "--output", "out/run")
    assert code == 2
    assert re.fullmatch(r"error: .*Is the docker daemon running.*make doctor\n", error)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--release", "emr-6.9.0"), "RELEASE=emr-6.9.0 is not in releases.toml; choose one of emr-spark-8.1.0"),
        (("--instance-type", "m5.large"), "INSTANCE_TYPE=m5.large is not known; choose one of m5.xlarge"),
        (("--region", "ap-south-1"), "REGION=ap-south-1 has no prices"),
        (("--bucket", "s3://mine"), "BUCKET=s3://mine is no valid name"),
        (("--input", "nowhere"), "no such folder"),
        (("--workers", "0"), "--workers: '0' is no number of nodes"),
        (("--conf", "spark.executor.memory=40g"), "above YARN's limit of 12288 MB a container on m5.xlarge"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(launch, photos, more, words):
    given = {"--bucket": "mine", "--input": str(photos), "--output": "out/run"} | {more[0]: more[1]}
    code, _, error = launch("emr-plan", *[arg for pair in given.items() for arg in pair])
    assert code == 2
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_release_out_of_support_is_warned_about(launch, photos, monkeypatch):
    table = (ROOT / "releases.toml").read_text().replace("2029-09-07", "2020-09-07")
    path = photos.parent / "releases.toml"
    path.write_text(table)
    monkeypatch.setattr("base.releases.TABLE", path)
    code, _, error = launch("emr-plan", "--bucket", "mine", "--input", str(photos), "--output", "out/run")
    assert code == 0
    line = "emr-spark-8.1.0 is out of EMR's standard support since 2020-09-07; choose a newer RELEASE"
    assert error == f"warning: {line}\n"
