"""What the EMR lab's endpoint takes, refuses and lists of Spark Connect sessions."""

import pytest

from tests.unit.test_emr_endpoint_sessions import cluster, fake, refusal, wait_for

__all__ = ["cluster", "fake"]
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Name": None}, "Name is required"),
        ({"Name": "  "}, "Name is required"),
        ({"SessionIdleTimeoutInMinutes": 0}, "must be 1 to 1440, not 0"),
        ({"SessionIdleTimeoutInMinutes": 1441}, "must be 1 to 1440, not 1441"),
        ({"EngineConfigurations": [{"Classification": "yarn-site"}]}, "yarn-site is no configuration of a session"),
        (
            {"EngineConfigurations": [{"Classification": "spark-defaults", "Properties": {"spark.master": "local"}}]},
            "spark.master is set by the session itself",
        ),
        (
            {"EngineConfigurations": [{"Classification": "spark-defaults", "Properties": {"fs.s3a.x": "y"}}]},
            "fs.s3a.x is no setting of Spark",
        ),
        (
            {"EngineConfigurations": [{"Classification": "spark-defaults", "Properties": {"spark.x": "a\nspark.y b"}}]},
            "spark.x is no setting of Spark",
        ),
        ({"MonitoringConfiguration": {"S3LoggingConfiguration": {"Enabled": True}}}, "LogUri must be s3://"),
        (
            {
                "MonitoringConfiguration": {
                    "S3LoggingConfiguration": {"LogUri": "s3://bucket/x", "LogTypes": {"SPARK_DRIVER": ["gc"]}}
                }
            },
            "SPARK_DRIVER has no log gc",
        ),
        ({"ExecutionRoleArn": ROLE}, "Runtime roles are not supported on this cluster"),
        ({"Tags": [{"Key": "aws:x", "Value": "y"}]}, "aws: is reserved"),
    ],
)
def test_what_emr_would_not_start_is_refused(fake, cluster, changes, words):
    request = {name: value for name, value in {"Name": "mine", **changes}.items() if value is not None}
    error = refusal(fake.client.start_session, ClusterId=cluster, **request)
    assert error["Code"] == "InvalidRequestException"
    assert words in error["Message"]
    assert fake.client.list_sessions(ClusterId=cluster)["Sessions"] == []


def test_logs_elsewhere_than_in_s3_are_not_in_the_lab(fake, cluster):
    monitoring = {"CloudWatchLoggingConfiguration": {"Enabled": True}}
    error = refusal(fake.client.start_session, ClusterId=cluster, Name="mine", MonitoringConfiguration=monitoring)
    assert error["Code"] == "NotImplemented"


def test_a_cluster_without_sessions_and_one_that_is_not_ready_start_none(fake):
    without = fake.start(keep=True)
    assert "not enabled" in refusal(fake.client.start_session, ClusterId=without, Name="mine")["Message"]
    assert not fake.client.describe_cluster(ClusterId=without)["Cluster"]["SessionEnabled"]
    fake.client.terminate_job_flows(JobFlowIds=[without])
    fake.wait(without, "TERMINATED")
    slow = fake.put("slow.sh", "#!/bin/sh\nsleep 20\n")
    actions = [{"Name": "slow", "ScriptBootstrapAction": {"Path": slow}}]
    starting = fake.start(keep=True, SessionEnabled=True, BootstrapActions=actions)
    assert fake.client.describe_cluster(ClusterId=starting)["Cluster"]["SessionEnabled"]
    assert (
        "while it is RUNNING or WAITING" in refusal(fake.client.start_session, ClusterId=starting, Name="m")["Message"]
    )
    assert refusal(fake.client.start_session, ClusterId="j-NONE", Name="m")["Code"] == "InvalidRequestException"


def test_a_cluster_with_sessions_has_spark(fake):
    error = refusal(fake.start, SessionEnabled=True, Applications=[{"Name": "Delta"}])
    assert error["Code"] in {"ValidationException", "NotImplemented"}
    error = refusal(fake.start, SessionEnabled=True, Applications=None)
    assert "needs the application Spark" in error["Message"]


def test_the_same_client_request_token_starts_one_session(fake, cluster):
    request = {"ClusterId": cluster, "Name": "mine", "ClientRequestToken": "once", "Tags": [{"Key": "a", "Value": "b"}]}
    first = fake.client.start_session(**request)
    again = fake.client.start_session(**request)
    assert {name: first[name] for name in ("Id", "Arn", "State")} == {
        name: again[name] for name in ("Id", "Arn", "State")
    }
    error = refusal(fake.client.start_session, **{**request, "Name": "other"})
    assert "other parameters" in error["Message"]
    assert fake.client.start_session(**{**request, "ClientRequestToken": "twice"})["Id"] != first["Id"]
    assert len(fake.client.list_sessions(ClusterId=cluster)["Sessions"]) == 2


def test_sessions_are_listed_newest_first_by_state_in_pages(fake, cluster):
    hold = fake.root / "s3" / "hold"  # none of them has failed when the first is ended
    hold.parent.mkdir(exist_ok=True)
    hold.touch()
    ids = [fake.client.start_session(ClusterId=cluster, Name=f"n{number}")["Id"] for number in range(5)]
    pages = fake.client.get_paginator("list_sessions").paginate(ClusterId=cluster, MaxResults=2)
    sizes = [[each["Id"] for each in page["Sessions"]] for page in pages]
    assert [len(page) for page in sizes] == [2, 2, 1]
    assert [each for page in sizes for each in page] == ids[::-1]
    fake.client.terminate_session(ClusterId=cluster, SessionId=ids[0])
    wait_for(fake, cluster, ids[0], "TERMINATED")
    hold.unlink()
    for each in ids[1:]:
        wait_for(fake, cluster, each, "FAILED")
    listed = fake.client.list_sessions(ClusterId=cluster, SessionStates=["FAILED"])["Sessions"]
    assert [each["Id"] for each in listed] == ids[:0:-1]
    assert fake.client.list_sessions(ClusterId=cluster, SessionStates=["BUSY"])["Sessions"] == []
    error = refusal(fake.client.list_sessions, ClusterId=cluster, NextToken="is-NONE")
    assert "NextToken" in error["Message"]
