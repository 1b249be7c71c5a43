"""What is asked once a run has done its work, and cannot be had: lines, and no exit code."""

import json
import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from launch import storage
from launch.emr import aws, cost, follow, results
from launch.emr.follow import Clients, Step
from launch.storage import StorageError
from tests import own_job
from tests.emr.conftest import BUCKET
from tests.emr.machinery import ENDING, Machinery, Played


def refused(code, operation="ListInstances"):
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


@pytest.fixture
def no_instances(monkeypatch):
    """From now on ListInstances ends with this error."""

    def let(error):
        pages = aws.pages

        def asked(client, operation, *more, **arguments):
            if operation == "list_instances":
                raise error
            return pages(client, operation, *more, **arguments)

        monkeypatch.setattr(aws, "pages", asked)

    return let


ERRORS = [
    (refused("AccessDeniedException"), "access denied; the caller needs"),
    (refused("ThrottlingException"), "AWS asks to slow down"),
    (refused("InternalServerError"), "AWS refuses"),
    (EndpointConnectionError(endpoint_url="https://elasticmapreduce.eu-west-3.amazonaws.com"), "no answer from AWS"),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_price_and_losses_that_cannot_be_had_are_a_line_each(
    ready, launch, run_args, no_instances, tmp_path, error, words
):
    no_instances(error)
    with Machinery():
        code, out, said = launch(*run_args)
    assert code == 0, said
    assert [line.split(words)[0] for line in said.splitlines()[-2:]] == [
        "warning: what the run cost is not known: ",
        "warning: what went with machines is not known: ",
    ]
    assert ENDING in out
    assert "cost  " not in out.rpartition(ENDING)[2]
    assert re.search(r"report      .*report.html\n$", out)
    record = json.loads((tmp_path / "here" / "emr.json").read_text())
    assert (record["actual"], record["lost"]) == (None, None)


def test_a_cluster_that_does_not_end_is_a_line(ready, launch, run_args, monkeypatch):
    monkeypatch.setattr(follow, "END_S", 0.0)
    monkeypatch.setattr(follow, "ENDED", set())
    with Machinery():
        code, out, said = launch(*run_args)
    assert code == 0, said
    assert re.search(r"warning: what the run cost is not known: cluster j-\w+ has not ended after 0 minutes", said)
    assert "report  " in out


def test_on_a_cluster_that_stays_a_run_costs_until_the_steps_end(make_spec, stubs):
    started = datetime.now(UTC) - timedelta(hours=9)  # this machine has slept since
    line = {"EndDateTime": started + timedelta(minutes=6)}
    stubs.answer("emr", "describe_step", {"Step": {"Status": {"State": "COMPLETED", "Timeline": line}}})
    step, clients = Step(cluster="j-1", step="s-1", logs="s3://b/"), Clients(emr=stubs.client("emr"), s3=None)
    spec = make_spec(keep=True)
    bill = results.bill(spec, step, started=started, clients=clients, show=print)
    assert bill.minutes == 6
    assert bill.usd == pytest.approx(cost.hour_usd(spec.cluster) / 10, abs=0.0001)


def test_counts_that_cannot_be_read_are_a_line(ready, launch, run_args, monkeypatch):
    job_record, asked = results.job_record, []

    def once(s3, uri):
        asked.append(uri)
        if len(asked) == 2:
            raise refused("SlowDown", "GetObject")
        return job_record(s3, uri)

    monkeypatch.setattr(results, "job_record", once)
    with Machinery():
        code, out, said = launch(*run_args)
    assert code == 0, said
    assert said.splitlines()[-1].startswith("warning: what the job counted is not known: AWS asks to slow down")
    assert "images      6:" not in out
    assert "report  " in out


def test_a_record_that_cannot_be_written_is_a_line(ready, launch, run_args, tmp_path):
    (tmp_path / "here" / "emr.json").mkdir(parents=True)
    with Machinery():
        code, out, said = launch(*run_args)
    assert code == 0, said
    assert said.splitlines()[-1].startswith("warning: emr.json is not written: [Errno 21] Is a directory")
    assert ENDING in out


@pytest.mark.parametrize("content", [b"no JSON", b"[1]"])
def test_what_is_no_record_of_a_run_is_said_before_anything_is_started(ready, launch, run_args, monkeypatch, content):
    def read(_, uri):
        return content.decode() if uri.endswith("/run.json") else None

    monkeypatch.setattr("launch.emr.logs.read", read)
    with Machinery() as amazon:
        code, _, said = launch(*run_args)
    assert (code, amazon.asked) == (1, [])
    assert re.match(r"error: s3://.*/run.json is no .*; remove it, or take another OUTPUT\n", said.splitlines(True)[-1])


def test_results_that_cannot_be_fetched_are_said_to_be_there(ready, launch, run_args, monkeypatch):
    def full(uri, *_):
        raise StorageError(f"{uri} cannot be fetched: no space left")

    monkeypatch.setattr(storage, "fetch", full)
    with Machinery():
        code, _, said = launch(*run_args)
    assert code == 1
    assert re.match(
        rf"error: s3://{BUCKET}/results/\S+ cannot be fetched: no space left; the step s-\w+ has completed, "
        rf"and what it wrote stays in s3://{BUCKET}/results/\S+$",
        said.splitlines()[-1],
    )


def test_an_own_job_leaves_the_record_of_its_run(ready, launch, tmp_path):
    job = own_job.write(tmp_path / "own")
    with Played(0):
        code, out, said = launch("emr-run", "--bucket", BUCKET, "--yes", str(job), "--", "0")
    assert code == 0, said
    (path,) = (tmp_path / "out" / "runs").glob("*/emr.json")
    record = json.loads(path.read_text())
    assert record["step"] == path.parent.name
    assert record["job"] == "job.py"
    assert record["nodes"] == "3 x m5.xlarge"
    assert record["actual"]["usd"] > 0
    assert (record["billed"], record["lost"]) == (True, None)
    assert f"record      {os.path.relpath(path)}\n" in out
    assert not list((job / "out").rglob("emr.json")), "Spark would read it"


@pytest.mark.parametrize("code", [0, 7])
def test_an_own_job_whose_log_cannot_be_read_ends_as_it_ended(ready, launch, monkeypatch, tmp_path, code):
    def refuse(*_):
        raise refused("InvalidObjectState", "GetObject")

    monkeypatch.setattr("launch.emr.logs.read", refuse)
    job = own_job.write(tmp_path / "own")
    with Played(code):
        ended, out, said = launch("emr-run", "--bucket", BUCKET, "--yes", str(job), "--", str(code))
    assert "warning: what the job printed is not here: " in said
    if code:
        assert ended == 1
        assert "warning: the job's exit code is not known: " in said
        assert said.splitlines()[-1].startswith("error: the step s-")
    else:
        assert ended == 0
        assert out.splitlines()[-1].endswith("the bill comes from Amazon")
