"""`python -m launch emr-…`, as a user types it: against moto, where a thread plays what Amazon does with a step."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from launch.dependencies import wheels
from launch.emr import aws, bootstrap, follow, once, teardown
from launch.emr.aws import EmrError
from pipeline.signals import Stopped
from tests.emr.conftest import BUCKET, REGION
from tests.emr.machinery import ENDING, Machinery, keys, moto_clusters, place, put

ROOT = Path(__file__).parents[2]


def clusters():
    found = boto3.client("emr", region_name=REGION).list_clusters()["Clusters"]
    return {cluster["Id"]: cluster["Status"]["State"] for cluster in found}


def test_from_an_account_to_the_report_and_no_cluster_left(ready, launch, run_args, photos, tmp_path):
    with Machinery(running_s=3) as amazon:
        code, out, error = launch(*run_args)
    assert (code, error.splitlines()[-1]) == (0, f"6 files in s3://{BUCKET}/{place(photos)}: 6 sent")
    assert out.startswith("estimate    $0.")
    for words in ("cluster", "step running", "3/9 images · 2 images/s · ETA 3 s"):
        assert words in out
    said, after, end = out.partition(ENDING)
    assert after, "the job's own words, as `make run` ends with them"
    assert re.fullmatch(
        r"cost        \$0\.\d\d at list prices in \d+ minutes; the bill comes from Amazon", end.splitlines()[0]
    )
    assert end.splitlines()[1:] == [f"report      {os.path.relpath(tmp_path / 'here' / 'report.html')}"]
    assert "free" not in said + end
    results = place(tmp_path / "here").replace("images/", "results/")
    assert (tmp_path / "here" / "report.html").read_text() == f"report.html of {results}"
    assert list(clusters().values()) == ["TERMINATED"]

    record = json.loads((tmp_path / "here" / "emr.json").read_text())
    assert record["estimated"]["usd"] > 0.1
    assert record["actual"]["usd"] > 0
    assert record["billed"] is True
    assert record["release"] == "emr-spark-8.1.0"
    assert record["nodes"] == "3 x m5.xlarge"
    assert datetime.fromisoformat(record["started"])

    (asked,) = amazon.asked
    assert asked[5] == "spark-submit"
    for arg in asked:
        if arg.startswith(f"s3://{BUCKET}/artifacts/"):
            assert keys(arg.removeprefix(f"s3://{BUCKET}/")), f"{arg} was uploaded"
    assert keys("artifacts/wheelhouse/wheelhouse-abababababab.tar")
    (script,) = keys("artifacts/bootstrap/")
    stored = boto3.client("s3", region_name=REGION).get_object(Bucket=BUCKET, Key=script)["Body"].read()
    assert stored == bootstrap.SCRIPT.read_bytes()


def test_the_second_run_sends_only_what_is_new(ready, launch, run_args, tmp_path):
    def to_send():
        return json.loads((tmp_path / "here" / "emr.json").read_text())["estimated"]["send_usd"]

    with Machinery():
        assert launch(*run_args)[0] == 0
        assert to_send() > 0
        code, out, error = launch(*run_args)
    assert code == 0
    assert to_send() == 0
    assert error.splitlines()[-1].endswith("0 sent")
    assert ENDING in out


def test_what_else_lies_in_the_users_bucket_is_said_before_the_price_and_stays(ready, launch, run_args, photos):
    put(place(photos), "Kiwi/", "Kiwi/.DS_Store", "Kiwi/0 9.jpg", "Lime/0.jpg")
    with Machinery():
        code, out, error = launch(*run_args)
    assert code == 0
    assert error.splitlines()[0] == (
        f"warning: s3://{BUCKET}/{place(photos)} holds 2 objects that {photos} has not got, like Kiwi/0 9.jpg; they "
        "stay and take part in the run. If they should not: "
        f"aws s3 sync --delete {photos} s3://{BUCKET}/{place(photos)}"
    )
    assert "images      8," in out, "6 of the folder, and these"
    assert error.splitlines()[-1] == f"6 files in s3://{BUCKET}/{place(photos)}: 6 sent"
    assert {f"{place(photos)}/Kiwi/0 9.jpg", f"{place(photos)}/Lime/0.jpg"} <= set(keys(f"{place(photos)}/"))


def test_results_that_stand_are_not_said_to_be_extracted_again(ready, launch, run_args):
    with Machinery():
        assert launch(*run_args)[0] == 0
    with Machinery(results=False):
        code, out, _ = launch(*run_args)
    assert code == 0
    assert "images      6: 0 extracted, 5 already known\n" in out


def test_results_that_stay_in_the_bucket_are_summed_up_here_too(ready, launch, run_args, tmp_path):
    with Machinery():
        code, out, _ = launch(*run_args, "--output", f"s3://{BUCKET}/results/there")
    assert code == 0
    report = tmp_path / "out" / BUCKET / "results" / "there" / "report.html"
    assert ENDING in out
    assert out.endswith(f"\nreport      {os.path.relpath(report)}\n")
    assert {path.name for path in report.parent.iterdir()} == {"report.html", "emr.json"}


def test_a_failed_step_is_one_line_and_leaves_no_cluster(ready, launch, run_args):
    with Machinery("FAILED", stderr="Traceback\nModuleNotFoundError: No module named 'obstore'\n"):
        code, _, error = launch(*run_args)
    assert code == 1
    last = error.splitlines()[-1]
    assert last.startswith("error: the step s-")
    assert "ModuleNotFoundError: No module named 'obstore' on the driver; the nodes' packages lack it" in last
    assert last.endswith("/stderr.gz")
    assert "TERMINATED" in set(clusters().values())
    assert len(clusters()) == 1


def test_a_cluster_ended_by_others_is_said(ready, launch, run_args):
    def end():
        for cluster in moto_clusters().values():
            cluster.terminate()

    with Machinery(stop_at=end):
        code, _, error = launch(*run_args)
    assert code == 1
    assert len(error.splitlines()[-1].splitlines()) == 1
    assert set(clusters().values()) == {"TERMINATED"}


def test_what_is_kept_takes_a_second_run_and_ends_when_idle(ready, launch, run_args, tmp_path):
    with Machinery() as amazon:
        code, out, _ = launch(*run_args, "--keep", "--release", "emr-spark-8.0.0")
        assert code == 0
        (name,) = clusters()
        assert f"stays for ten idle minutes: CLUSTER={name}" in out
        assert clusters()[name] != "TERMINATED"
        code, out, _ = launch(*run_args, "--cluster", name)
        assert code == 0
        assert "the cluster runs already" in out
    record = json.loads((tmp_path / "here" / "emr.json").read_text())
    assert record["release"] == "emr-spark-8.0.0", "the cluster's, for which packages and jars are found"
    assert len(amazon.asked) == 2
    assert len(clusters()) == 1


def test_other_packages_than_the_clusters_are_refused(ready, launch, run_args, monkeypatch, tmp_path):
    with Machinery():
        launch(*run_args, "--keep")
        (name,) = clusters()
        other = wheels.Wheelhouse(tmp_path / "wheelhouse-0123.tar", "cd" * 32)
        monkeypatch.setattr(wheels, "build", lambda *_, **__: other)
        code, _, error = launch(*run_args, "--cluster", name)
    assert code == 1
    assert f"CLUSTER={name} has other Python packages than the job asks for; start another" in error


def test_a_prefix_with_nothing_in_it_starts_nothing(ready, launch):
    places = ("--input", f"s3://{BUCKET}/images/none", "--output", f"s3://{BUCKET}/results/none")
    code, _, error = launch("emr-run", "--bucket", BUCKET, *places, "--yes")
    assert code == 2
    assert (
        error == f"error: --input s3://{BUCKET}/images/none holds nothing; bring photographs there, or give a folder\n"
    )
    assert clusters() == {}


def test_a_cluster_whose_step_cannot_be_seen_is_ended(ready, launch, run_args, monkeypatch):
    pages = aws.pages

    def lost(client, operation, *more, **arguments):
        if operation == "list_steps":
            raise EndpointConnectionError(endpoint_url="https://elasticmapreduce.eu-west-3.amazonaws.com")
        return pages(client, operation, *more, **arguments)

    monkeypatch.setattr(aws, "pages", lost)
    code, _, error = launch(*run_args)
    assert code == 1
    assert error.splitlines()[-1].startswith("error: no answer from AWS")
    assert list(clusters().values()) == ["TERMINATED"]


def test_over_the_limit_nothing_is_sent_or_started(ready, launch, run_args):
    code, _, error = launch(*run_args, "--max-usd", "0.01")
    assert code == 2
    assert "over MAX_USD=0.01; raise it if that is meant" in error
    assert clusters() == {}
    assert keys("artifacts/") == []


def test_without_a_terminal_the_price_must_be_agreed_to_by_a_flag(ready, launch, run_args, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115, PTH123 - stands in for the session's
    code, out, error = launch(*[arg for arg in run_args if arg != "--yes"])
    assert code == 2
    assert "give YES=1 (--yes)" in error
    assert "estimate" in out
    assert clusters() == {}


class Terminal:
    """A terminal at which `typed` is typed."""

    def __init__(self, *typed):
        self.typed = list(typed)

    def isatty(self):
        return True

    def readline(self):
        answer = self.typed.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.mark.parametrize(("typed", "started"), [("y\n", 1), ("\n", 0), ("n\n", 0)])
def test_at_a_terminal_it_asks(ready, launch, run_args, monkeypatch, typed, started):
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    with Machinery():
        code, out, _ = launch(*[arg for arg in run_args if arg != "--yes"])
    assert code == (0 if started else 2)
    assert "run it? [y/N]" in out
    assert len(clusters()) == started


@pytest.mark.parametrize(
    ("typed", "left"), [("leave\n", True), ("end\n", False), ("\n", False), (KeyboardInterrupt(), False)]
)
def test_ctrl_c_asks_whether_to_leave_it_running(ready, launch, run_args, monkeypatch, typed, left):
    monkeypatch.setattr("sys.stdin", Terminal(typed))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "follow", interrupted)
    code, out, _ = launch(*run_args)
    assert code == 130
    assert ("goes on and ends with its step; make emr-status shows it" in out) is left
    (state,) = clusters().values()
    assert (state != "TERMINATED") is left


class ClosedTerminal(io.StringIO):
    """Takes nothing."""

    def write(self, _):
        raise OSError(errno.EIO, "Input/output error")


def test_a_closed_terminal_keeps_no_cluster_alive(ready, launch, run_args, monkeypatch):
    """Nothing that is said on the way to the end may come between."""

    def stopped(*_, **__):
        monkeypatch.setattr("sys.stdout", ClosedTerminal())
        raise Stopped(signal.SIGHUP)

    sent = []
    run_job_flow = once.run_job_flow

    def interrupted(clients, sender, asked, *, show):
        class Sender:
            def run_job_flow(self, **given):
                sent.append(sender.run_job_flow(**given))
                stopped()

        return run_job_flow(clients, Sender(), asked, show=show)

    monkeypatch.setattr(once, "run_job_flow", interrupted)
    launch(*run_args)
    assert len(sent) == 1
    assert list(clusters().values()) == ["TERMINATED"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_can_answer_no_question_ends_what_he_started(ready, launch, run_args, monkeypatch, number):
    """A closed terminal, a service manager: nobody is there to be asked, though a terminal may seem to be."""
    monkeypatch.setattr("sys.stdin", Terminal())

    def stopped(*_, **__):
        raise Stopped(number)

    monkeypatch.setattr(follow, "follow", stopped)
    code, out, _ = launch(*run_args)
    assert code == 128 + number
    (name,) = clusters()
    assert f"cluster {name} is ended" in out
    assert clusters() == {name: "TERMINATED"}


def test_the_money_is_the_deadline(ready, launch, run_args, monkeypatch):
    seen = {}

    def late(clients, step, *, deadline_s, show, stdout):
        seen["deadline_s"] = deadline_s
        raise EmrError("still running")

    monkeypatch.setattr(follow, "follow", late)
    code, out, _ = launch(*run_args, "--max-usd", "2")
    hour = float(out.split("at $")[1].split(" ")[0])
    assert seen["deadline_s"] == pytest.approx(2 / hour * 3600, rel=0.01)
    assert code == 1
    assert list(clusters().values()) == ["TERMINATED"]


def test_more_clusters_than_emr_takes_in_a_request_are_ended(stubs):
    ids = [f"j-{number}" for number in range(12)]
    for some in (ids[:10], ids[10:]):
        stubs.answer("emr", "terminate_job_flows", {}, {"JobFlowIds": some})
    teardown.end(stubs.client("emr"), ids)
    stubs.assert_all_asked()


def test_status_logs_stop_and_down(ready, launch, run_args):
    with Machinery():
        launch(*run_args, "--keep")
    (name,) = clusters()
    code, out, _ = launch("emr-status")
    assert code == 0
    assert out.startswith(f"{name}  ")
    assert "1 + 2 x m5.xlarge, emr-spark-8.1.0" in out
    assert "  completed" in out
    assert launch("emr-logs")[1].endswith(f"all logs: s3://{BUCKET}/emrlab-logs/{name}/\n")
    assert launch("emr-stop", "--cluster", name)[1] == f"no step runs on {name}\n"
    code, out, _ = launch("emr-down", "--dry-run")
    assert (code, out) == (0, f"1 clusters of emrlab in eu-west-3: {name}\n")
    assert clusters()[name] != "TERMINATED"
    assert launch("emr-down")[0] == 0
    assert clusters()[name] == "TERMINATED"
    assert launch("emr-status")[1] == "no cluster of emrlab runs in eu-west-3\n"


def test_only_what_carries_the_tag_is_ended(ready, launch):
    emr = boto3.client("emr", region_name=REGION)
    theirs = [
        emr.run_job_flow(
            Name=name, Instances={"KeepJobFlowAliveWhenNoSteps": True}, JobFlowRole="x", ServiceRole="y", Tags=tags
        )["JobFlowId"]
        for name, tags in (("emrlab", []), ("theirs", [{"Key": "emrlab", "Value": "true"}]))
    ]
    assert launch("emr-down")[1] == "0 clusters of emrlab in eu-west-3: none\n"
    assert all(clusters()[name] != "TERMINATED" for name in theirs)
    for command in ("emr-logs", "emr-stop", "emr-status"):
        code, _, error = launch(command, "--cluster", theirs[0])
        assert code == 1
        assert f"CLUSTER={theirs[0]} was not started by emrlab; it is left alone" in error


def test_without_a_bucket_one_line_says_what_to_give(launch, photos):
    code, _, error = launch("emr-plan", "--input", str(photos), "--output", "out/run")
    assert code == 2
    assert error == "error: no bucket; give the one that emr-setup made, or is to make: BUCKET=NAME (--bucket NAME)\n"


def test_without_credentials_one_line_says_what_to_do(launch, photos):
    code, _, error = launch("emr-run", "--bucket", "mine", "--input", str(photos), "--output", "out/run", "--yes")
    assert code == 1
    assert error.startswith("error: no AWS credentials; run aws configure, or set AWS_ACCESS_KEY_ID")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["emr-run", "emr-plan", "emr-status", "emr-logs", "emr-stop", "emr-down", "emr-setup"])
def test_help_reads_well_at_eighty_columns(launch, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        launch(name, "--help")
    text = capsys.readouterr().out
    assert "--region" in text
    assert max(map(len, text.splitlines())) <= 80


def test_boto3_is_loaded_by_a_command_and_not_by_its_name():
    """`launch run` starts in seconds, and need not wait for a library that it does not use."""
    code = "import sys; from launch.emr import command; print('boto3' in sys.modules, 'botocore' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
