"""Nodes that come and go under real YARN, HDFS and Spark: a job's result is the same, and no block is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emr_lab.conftest import BUCKET, EmrLab, compose, step, wait_for
from tests.emr_lab.slow_sum import NUMBERS

HERE = Path(__file__).parent
SUMS = [[key, sum(range(key, NUMBERS, 7))] for key in range(7)]
# More executors than one node has room for.
SHAPE = ["--num-executors", "8", "--executor-cores", "1", "--executor-memory", "1g"]
FILES = 12
# Asks as EC2's clients do, and says what it is told, or nothing.
ASK = """
import urllib.request as u
def ask(path, method="GET", **headers):
    return u.urlopen(u.Request("http://127.0.0.1:8322/latest/" + path, headers=headers, method=method)).read().decode()
try:
    print(ask("meta-data/spot/instance-action", **{"X-Aws-Ec2-Metadata-Token": ask("api/token", "PUT")}))
except u.HTTPError as error:
    assert error.code == 404
"""


@pytest.fixture(scope="module")
def script(emr_lab: EmrLab) -> str:
    return emr_lab.put("artifacts/slow_sum.py", (HERE / "slow_sum.py").read_bytes())


@pytest.fixture(scope="module")
def cluster(emr_lab: EmrLab) -> Iterator[str]:
    """A cluster that stays, with one core node."""
    kind = {"InstanceType": "m5.xlarge"}
    groups = [
        {"InstanceRole": "MASTER", "InstanceCount": 1, **kind},
        {"InstanceRole": "CORE", "InstanceCount": 1, **kind},
    ]
    cluster = emr_lab.start(Instances={"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True})
    emr_lab.wait(cluster, "WAITING")
    yield cluster
    emr_lab.emr.terminate_job_flows(JobFlowIds=[cluster])
    emr_lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")


def core(lab: EmrLab, cluster: str) -> dict[str, Any]:
    groups = lab.emr.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    return dict(next(each for each in groups if each["InstanceGroupType"] == "CORE"))


def wait_core(lab: EmrLab, cluster: str, running: int) -> None:
    """Until so many core nodes run, and no more is to be done."""
    wait_for(
        lambda: core(lab, cluster),
        lambda group: (group["Status"]["State"], group["RunningInstanceCount"]) == ("RUNNING", running),
    )


def resize(lab: EmrLab, cluster: str, count: int) -> None:
    change = {"InstanceGroupId": core(lab, cluster)["Id"], "InstanceCount": count}
    lab.emr.modify_instance_groups(ClusterId=cluster, InstanceGroups=[change])


def slow_sum(lab: EmrLab, cluster: str, script: str, name: str, *, hosts: int = 1) -> None:
    """Add the step, which runs when this returns, until it is let go and so many hosts have taken part."""
    conf = ["--conf", "spark.dynamicAllocation.enabled=false"]
    added = step(name, "spark-submit", *SHAPE, *conf, script, f"s3://{BUCKET}/results/{name}", flag(name), str(hosts))
    lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[added])
    lab.wait_step(cluster, name, "RUNNING")


def flag(name: str) -> str:
    return f"s3://{BUCKET}/images/let-go-{name}"


def said(lab: EmrLab, cluster: str, name: str) -> dict[str, Any]:
    """Let the step go; what its driver printed, when it has done its work."""
    lab.put(f"images/let-go-{name}", b"")
    ended = lab.wait_step(cluster, name, "COMPLETED", "FAILED", "CANCELLED")
    assert ended["Status"]["State"] == "COMPLETED", lab.everything(cluster)
    return dict(json.loads(lab.log(f"{cluster}/steps/{ended['Id']}/stdout").splitlines()[-1]))


def wait_round(lab: EmrLab, cluster: str, name: str) -> None:
    """Until both core nodes have taken part in a round of the step."""
    log = f"{cluster}/steps/{lab.step(cluster, name)['Id']}/stdout"
    wait_for(
        lambda: {"said": lab.log(log) if lab.names(f"emrlab-logs/{log}") else ""},
        lambda found: "a round on ['core-1', 'core-2']" in found["said"],
    )


def notice_of(node: str) -> str:
    """What the node's metadata service says of its end."""
    return compose("exec", "-T", node, "python3", "-c", ASK).strip()


def hadoop(lab: EmrLab, cluster: str, name: str, line: str) -> str:
    """What a line of shell prints on the primary."""
    lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step(name, "bash", "-c", line)])
    ended = lab.wait_step(cluster, name, "COMPLETED", "FAILED")
    assert ended["Status"]["State"] == "COMPLETED", lab.everything(cluster)
    return lab.log(f"{cluster}/steps/{ended['Id']}/stdout")


def test_a_node_comes_for_a_job_that_waits_and_goes_without_a_block(emr_lab: EmrLab, cluster: str, script: str):
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 2}
    emr_lab.emr.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy={"ComputeLimits": limits})
    slow_sum(emr_lab, cluster, script, "grows", hosts=2)
    wait_core(emr_lab, cluster, 2)
    put = f"cd /tmp; for n in $(seq {FILES}); do echo $n > file-$n; done; hadoop fs -put file-* /"
    grown = said(emr_lab, cluster, "grows")
    assert (grown["sums"], grown["hosts"]) == (SUMS, ["core-1", "core-2"])
    datanodes = hadoop(emr_lab, cluster, "files", f"{put}; hdfs dfsadmin -report | grep -c '^Name:'")
    assert datanodes.split()[-1] == "2"
    # It has nothing to do for a minute.
    wait_core(emr_lab, cluster, 1)
    emr_lab.emr.remove_managed_scaling_policy(ClusterId=cluster)
    listed = emr_lab.emr.list_instances(ClusterId=cluster, InstanceStates=["TERMINATED"])["Instances"]
    assert [("decommissioned" in each["Status"]["StateChangeReason"]["Message"]) for each in listed] == [True]
    found = hadoop(emr_lab, cluster, "blocks", "hadoop fs -cat /file-*")
    assert sorted(map(int, found.split())) == list(range(1, FILES + 1))


def test_a_node_leaves_a_job_that_runs(emr_lab: EmrLab, cluster: str, script: str):
    resize(emr_lab, cluster, 2)
    wait_core(emr_lab, cluster, 2)
    slow_sum(emr_lab, cluster, script, "shrinks")
    wait_round(emr_lab, cluster, "shrinks")
    resize(emr_lab, cluster, 1)
    wait_core(emr_lab, cluster, 1)
    assert emr_lab.step(cluster, "shrinks")["Status"]["State"] == "RUNNING"
    assert said(emr_lab, cluster, "shrinks")["sums"] == SUMS


def test_a_node_is_taken_from_a_job_with_a_notice_and_replaced(emr_lab: EmrLab, cluster: str, script: str):
    resize(emr_lab, cluster, 2)
    wait_core(emr_lab, cluster, 2)
    slow_sum(emr_lab, cluster, script, "interrupted")
    wait_round(emr_lab, cluster, "interrupted")
    assert notice_of("core-2") == ""
    ask = ("--node", "core-2", "--after-s", "5", "--notice-s", "30", "--replace-after-s", "0")
    told = compose("exec", "-T", "emr", "python", "-m", "emr_lab.endpoint.interrupt", *ask)
    ec2 = told.partition("core-2 (")[2].partition(",")[0]
    notice = wait_for(lambda: {"said": notice_of("core-2")}, lambda found: bool(found["said"]))
    assert json.loads(notice["said"])["action"] == "terminate"

    def machine() -> dict[str, Any]:
        found = emr_lab.emr.list_instances(ClusterId=cluster)["Instances"]
        return dict(next(each for each in found if each["Ec2InstanceId"] == ec2))

    gone = wait_for(machine, lambda found: found["Status"]["State"] == "TERMINATED")
    assert gone["Status"]["StateChangeReason"]["Code"] == "INSTANCE_FAILURE"
    assert said(emr_lab, cluster, "interrupted")["sums"] == SUMS
    wait_core(emr_lab, cluster, 2)
    rows = emr_lab.names("results/interrupted/part-")
    assert [json.loads(line)["total"] for name in rows for line in emr_lab.get(name).splitlines()] == [
        total for _, total in SUMS
    ]
