"""Following a step: every end that it can have, on a clock of the test's own."""

# ruff: noqa: N803 - boto3's names of arguments

import gzip
import io

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from launch.emr import follow, logs
from launch.emr.aws import EmrError
from launch.emr.follow import Clients, Step

STEP = Step(cluster="j-1", step="s-1", logs="s3://b/logs/")
STDERR = "logs/j-1/steps/s-1/stderr.gz"
STDOUT = STDERR.replace("err", "out")


class Time:
    """Goes on only when somebody sleeps."""

    def __init__(self):
        self.now, self.pauses = 0.0, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.pauses.append(seconds)


class Amazon:
    """EMR and S3 as `follow` asks them: the script's states one a look, and the logs that are there."""

    def __init__(self, *looks, logs=None, reason=None, failure=None, instances=()):
        self.looks, self.logs = list(looks), logs or {}
        self.reason, self.failure, self.instances = reason or {}, failure or {}, instances
        self.seen = ("", "")

    def describe_cluster(self, ClusterId):
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(seen, Exception):
            raise seen
        self.seen = seen
        return {"Cluster": {"Status": {"State": self.seen[0], "StateChangeReason": self.reason}}}

    def describe_step(self, ClusterId, StepId):
        return {"Step": {"Status": {"State": self.seen[1], "FailureDetails": self.failure}}}

    def get_paginator(self, name):
        assert name == "list_instances"
        return self

    def paginate(self, ClusterId):
        return [{"Instances": [{"Ec2InstanceId": each} for each in self.instances]}]

    def head_object(self, Bucket, Key):
        return {"ETag": str(len(self.get_object(Bucket, Key)["Body"].read()))}

    def get_object(self, Bucket, Key):
        if Key not in self.logs:
            raise error("NoSuchKey", 404)
        return {"Body": io.BytesIO(gzip.compress(self.logs[Key].encode()))}


def error(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "DescribeCluster")


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def watch(time):
    def call(amazon, deadline_s=3600):
        shown = list[str]()
        clients = Clients(emr=amazon, s3=amazon, clock=time.clock, sleep=time.sleep)
        try:
            follow.follow(clients, STEP, deadline_s=deadline_s, show=shown.append)
        except EmrError as failed:
            assert "\n" not in str(failed)
            return shown, str(failed)
        return shown, None

    return call


def test_states_are_shown_once_and_progress_as_it_comes(watch):
    amazon = Amazon(
        ("STARTING", "PENDING"), ("STARTING", "PENDING"), ("BOOTSTRAPPING", "PENDING"), ("RUNNING", "RUNNING"),
        ("RUNNING", "RUNNING"), ("TERMINATING", "COMPLETED"),
        logs={STDERR: "3/9 images · 2 images/s · ETA 3 s · rejected 0\n"},
    )  # fmt: skip
    shown, failed = watch(amazon)
    assert failed is None
    assert shown == [
        "cluster starting, step pending",
        "cluster bootstrapping, step pending",
        "cluster running, step running",
        "3/9 images · 2 images/s · ETA 3 s",
        "cluster terminating, step completed",
    ]


class Printing(Amazon):
    """A step that has printed, at each look at its stdout, so much."""

    def __init__(self, *looks, printed):
        super().__init__(*looks)
        self.printed = list(printed)

    def head_object(self, Bucket, Key):
        if Key == STDOUT and self.printed:
            self.logs[STDOUT] = self.printed.pop(0)
        if Key not in self.logs:
            raise error("NoSuchKey", 404)
        return super().head_object(Bucket, Key)


def test_what_a_step_prints_is_shown_once_by_whole_lines_as_it_comes(time, capsys):
    printed = ["", "one\ntw", "one\ntw", "one\ntwo\nthr", "one\ntwo\nthree"]
    amazon = Printing(*[("RUNNING", "RUNNING")] * 5, ("RUNNING", "COMPLETED"), printed=printed)
    clients, came = Clients(emr=amazon, s3=amazon, clock=time.clock, sleep=time.sleep), list[str]()

    def sleep(seconds):
        time.sleep(seconds)
        came.append(capsys.readouterr().out)

    stdout = logs.GrowingLog(f"s3://b/{STDOUT}")
    follow.follow(
        Clients(emr=amazon, s3=amazon, clock=time.clock, sleep=sleep), STEP, deadline_s=3600, show=lambda _: None,
        stdout=stdout,
    )  # fmt: skip
    assert came == ["", "one\n", "", "two\n", ""]
    assert stdout.rest(follow.wait_for_log(clients, stdout.uri, show=print) or "") == "three"
    assert time.pauses == [follow.INTERVAL_S[0]] * 5, "where something comes, more may"


def test_what_a_step_prints_is_nobodys_business_where_nobody_asks(watch, capsys):
    watch(Printing(("RUNNING", "RUNNING"), ("RUNNING", "COMPLETED"), printed=["one\n"]))
    assert capsys.readouterr().out == ""


def test_logs_that_cannot_be_read_end_no_step(watch):
    class Refusing(Amazon):
        def head_object(self, Bucket, Key):
            raise error("InvalidObjectState", 403)

    shown, failed = watch(Refusing(*[("RUNNING", "RUNNING")] * 3, ("RUNNING", "COMPLETED")))
    assert failed is None
    assert len([line for line in shown if "cannot be read" in line]) == 1


def test_a_step_that_failed_says_so_where_its_logs_cannot_be_read(watch):
    class Refusing(Amazon):
        def get_object(self, Bucket, Key):
            raise error("InvalidObjectState", 403)

    shown, failed = watch(Refusing(("TERMINATING", "FAILED"), failure={"Reason": "Unknown Error."}))
    assert failed.startswith("the step s-1 failed: Unknown Error.; log: ")
    assert len([line for line in shown if f"s3://b/{STDERR} cannot be read: " in line]) == 1


def test_it_asks_ever_more_slowly_and_at_once_after_a_change(watch, time):
    watch(Amazon(*[("STARTING", "PENDING")] * 9, ("RUNNING", "RUNNING"), ("RUNNING", "COMPLETED")))
    low, high = follow.INTERVAL_S
    assert time.pauses[0] == low
    assert max(time.pauses) == high
    assert time.pauses[-1] == low


def test_throttling_and_lost_connections_are_outlasted(watch):
    lost = EndpointConnectionError(endpoint_url="https://elasticmapreduce.eu-west-3.amazonaws.com")
    shown, failed = watch(
        Amazon(error("ThrottlingException"), ("RUNNING", "RUNNING"), *[lost] * 40, error("InternalServerError", 500),
               ("RUNNING", "COMPLETED"))
    )  # fmt: skip
    assert failed is None
    assert len([line for line in shown if "trying on" in line]) == 1, "a long silence is said, once"


def test_a_refusal_is_no_silence(watch):
    with pytest.raises(ClientError, match="AccessDenied"):
        watch(Amazon(error("AccessDeniedException")))


def test_the_deadline_ends_the_wait_and_names_the_state(watch):
    _, failed = watch(Amazon(("RUNNING", "RUNNING")), deadline_s=1200)
    assert failed.startswith("the step s-1 is still running after 20 minutes, the time that MAX_USD pays for")


def test_who_slept_past_the_deadline_sees_how_the_step_ended(watch, time):
    lost = EndpointConnectionError(endpoint_url="https://elasticmapreduce.eu-west-3.amazonaws.com")
    waited = time.sleep

    def sleep(seconds):
        waited(seconds if time.now else 9 * 3600)

    time.sleep = sleep
    shown, failed = watch(Amazon(("RUNNING", "RUNNING"), lost, ("TERMINATED", "COMPLETED")), deadline_s=3600)
    assert failed is None
    assert shown[-1] == "cluster terminated, step completed"


def test_who_gets_no_answer_after_the_deadline_gives_up(watch, time):
    lost = EndpointConnectionError(endpoint_url="https://elasticmapreduce.eu-west-3.amazonaws.com")
    _, failed = watch(Amazon(("RUNNING", "RUNNING"), lost), deadline_s=600)
    assert failed.startswith("the step s-1 is still running after 10 minutes")
    assert time.now < 600 + 2 * follow.UNREACHED_S


def test_a_failed_step_says_cause_fix_and_log(watch):
    _, failed = watch(
        Amazon(
            ("TERMINATING", "FAILED"),
            logs={STDERR: "ModuleNotFoundError: No module named 'obstore'\n", STDERR.replace("err", "out"): ""},
        )
    )
    assert failed == (
        "the step s-1 failed: ModuleNotFoundError: No module named 'obstore' on the driver; "
        "the nodes' packages lack it: declare it in pyproject.toml's group job, then make lock; log: s3://b/logs/j-1/steps/s-1/stderr.gz"
    )


def test_a_log_that_comes_late_is_waited_for(watch, time):
    amazon = Amazon(("TERMINATING", "FAILED"))
    waited, came = time.sleep, 200.0

    def sleep(seconds):
        waited(seconds)
        if time.now > came:
            amazon.logs = {STDERR: "error: no space left\n", STDERR.replace("err", "out"): ""}

    time.sleep = sleep
    shown, failed = watch(amazon)
    assert "no space left" in failed
    assert "waiting for the log, which EMR brings within five minutes" in shown


def test_without_a_log_emrs_own_words_are_given(watch, time):
    reason = {"Reason": "Unknown Error.", "Message": "Exception in thread main", "LogFile": "s3://b/logs/x"}
    _, failed = watch(Amazon(("TERMINATING", "FAILED"), failure=reason))
    assert failed.startswith("the step s-1 failed: Exception in thread main; log: ")
    assert time.now >= follow.LOGS_S


def test_a_failed_bootstrap_action_is_quoted_from_its_node(watch):
    _, failed = watch(
        Amazon(
            ("TERMINATED_WITH_ERRORS", "CANCELLED"),
            reason={
                "Code": "BOOTSTRAP_FAILURE",
                "Message": "On the master instance (i-0ab), bootstrap action 1 returned a non-zero return code",
            },
            logs={"logs/j-1/node/i-0ab/bootstrap-actions/1/stderr.gz": "emrlab: python3.11 with venv is missing\n"},
        )
    )
    assert failed == (
        "the bootstrap action failed on i-0ab: python3.11 with venv is missing; "
        "log: s3://b/logs/j-1/node/i-0ab/bootstrap-actions/1/stderr.gz"
    )


def test_a_failed_bootstrap_action_is_found_where_the_reason_names_no_node(watch):
    amazon = Amazon(
        ("TERMINATED_WITH_ERRORS", "CANCELLED"),
        reason={"Code": "BOOTSTRAP_FAILURE", "Message": "bootstrap failed"},
        instances=("i-1", "i-2"),
        logs={"logs/j-1/node/i-2/bootstrap-actions/1/stderr.gz": "emrlab: it is not the file that was uploaded\n"},
    )
    assert "on i-2: it is not the file that was uploaded" in watch(amazon)[1]


@pytest.mark.parametrize(
    ("look", "reason", "words"),
    [
        (("RUNNING", "CANCELLED"), {}, "the step s-1 was cancelled: not by this command; run it again"),
        (("WAITING", "INTERRUPTED"), {}, "the step s-1 was interrupted"),
        (
            ("TERMINATED", "CANCELLED"),
            {"Code": "USER_REQUEST", "Message": "Terminated by user request"},
            "cluster j-1 ended (USER_REQUEST): somebody ended the cluster, not this command; run it again",
        ),
        (
            ("TERMINATED_WITH_ERRORS", "CANCELLED"),
            {"Code": "VALIDATION_ERROR", "Message": "VcpuLimitExceeded: the vCPU limit of 8"},
            "Service Quotas > Amazon EC2",
        ),
        (
            ("TERMINATED_WITH_ERRORS", "PENDING"),
            {"Code": "INSTANCE_FLEET_TIMEOUT", "Message": "no machines"},
            "run again later, without --spot",
        ),
        (
            ("TERMINATED_WITH_ERRORS", "CANCELLED"),
            {"Code": "INTERNAL_ERROR", "Message": "Failed to start the job flow"},
            "cluster j-1 ended (INTERNAL_ERROR): Failed to start the job flow; log: s3://b/logs/j-1",
        ),
    ],
)
def test_every_other_end_has_words(watch, look, reason, words):
    assert words in watch(Amazon(look, reason=reason))[1]


def test_the_clusters_end_is_waited_for_and_has_a_deadline(time):
    clients = Clients(
        emr=Amazon(("TERMINATING", ""), ("TERMINATING", ""), ("TERMINATED", "")),
        s3=None,
        clock=time.clock,
        sleep=time.sleep,
    )
    assert follow.wait_ended(clients, "j-1", show=print) == "TERMINATED"
    stuck = Clients(emr=Amazon(("TERMINATING", "")), s3=None, clock=time.clock, sleep=time.sleep)
    with pytest.raises(EmrError, match="has not ended after 15 minutes"):
        follow.wait_ended(stuck, "j-1", show=print)
