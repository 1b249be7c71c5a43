"""`make down` and `make up`: objects, results and finished jobs are still there."""

import json
import subprocess
import sys

from base.paths import ROOT
from launch import docker_lab
from tests import contract, labs
from tests.lab import commands
from tests.lab.conftest import LISTED, REJECTED


def finished():
    """Finished applications, as the history server shows them."""
    address = docker_lab.find().pages["history"]
    found = json.loads(commands.ask(address, "/api/v1/applications") or "[]")
    return {each["id"] for each in found if each["name"] == "emrlab" and each["attempts"][0]["completed"]}


def test_finished_jobs_and_all_objects_outlive_the_lab(undisturbed, photos, model):
    before = commands.wait_until(finished, "application in the history server")
    objects = commands.sizes(commands.s3("ROOT"), "")
    for command in ("down", "up"):
        done = subprocess.run(
            [sys.executable, "-m", "lab", command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=labs.COMMAND_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert commands.sizes(commands.s3("ROOT"), "").items() >= objects.items()
    commands.wait_until(lambda: finished() >= before, "application of before in the history server")
    again = commands.run(str(photos), str(undisturbed.folder), *model)
    assert again.returncode == 0, again.stderr
    assert f"{LISTED:,}: 0 extracted, {LISTED - REJECTED:,} already known" in again.stdout


def test_a_page_of_the_history_server_tells_the_reasons_of_the_settings(undisturbed):
    application = sorted(commands.wait_until(finished, "application in the history server"))[0]
    said = json.loads(
        commands.ask(docker_lab.find().pages["history"], f"/api/v1/applications/{application}/environment")
    )
    properties = dict(said["sparkProperties"])
    assert properties["spark.executor.memory"]
    assert properties["spark.reason.spark.executor.memory"]
    assert contract.read(undisturbed.output).run["counts"]["listed"] == LISTED
