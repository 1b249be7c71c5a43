"""A disk that is full, and has room again: what the EMR lab's endpoint remembers, and what it does meanwhile."""

from __future__ import annotations

import errno
import json
import os

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emr_lab.endpoint.records import ClusterStore
from emr_lab.endpoint.steps import StepRunner
from tests.unit.fake_nodes import REGION, Fake, request, step, wait_until


@pytest.fixture
def disk(monkeypatch):
    """Where the clusters are saved, as long as `full` is empty."""
    full: list[bool] = []
    fsync = os.fsync

    def sync(descriptor):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    return full


def once(lab: Fake):
    """A client that asks once."""
    return boto3.client("emr", region_name=REGION, endpoint_url=lab.url, config=Config(retries={"max_attempts": 0}))


def refused(call, **members) -> str:
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["Error"]["Code"] == "InternalServerException"
    return caught.value.response["Error"]["Message"]


def saved(lab: Fake, cluster: str) -> str:
    records = json.loads((lab.root / "state.json").read_text())["clusters"]
    return next(each["state"] for each in records if each["id"] == cluster)


def test_what_cannot_be_saved_is_not_begun(lab: Fake, disk):
    client = once(lab)
    disk.append(True)
    assert "No space left on device. It is not done; free some room" in refused(client.run_job_flow, **request())
    assert client.list_clusters()["Clusters"] == []
    disk.clear()
    cluster = lab.start(keep=True, Tags=[{"Key": "a", "Value": "b"}])
    lab.wait(cluster, "WAITING")
    disk.append(True)
    refused(client.add_job_flow_steps, JobFlowId=cluster, Steps=[step("one", "exit 0")])
    refused(client.add_tags, ResourceId=cluster, Tags=[{"Key": "c", "Value": "d"}])
    refused(client.modify_cluster, ClusterId=cluster, StepConcurrencyLevel=7)
    assert lab.steps(cluster) == {}
    found = client.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (found["Tags"], found["StepConcurrencyLevel"]) == ([{"Key": "a", "Value": "b"}], 1)
    disk.clear()
    client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("two", "exit 0")])
    lab.wait_step(cluster, "two", "COMPLETED")
    assert lab.steps(cluster) == {"two": "COMPLETED"}


def test_a_cluster_goes_on_as_soon_as_there_is_room(lab: Fake, disk, caplog):
    script = f"while [ ! -e {lab.root}/go ]; do sleep 0.02; done"
    cluster = lab.start(step("runs", script), step("waits", "exit 0"))
    lab.wait_step(cluster, "runs", "RUNNING")
    disk.append(True)
    (lab.root / "go").touch()
    lab.wait_step(cluster, "runs", "COMPLETED")
    wait_until(lambda: "No space left on device" in caplog.text, lambda: caplog.text)
    assert lab.steps(cluster)["waits"] == "PENDING"
    disk.clear()
    lab.wait(cluster, "TERMINATED")
    assert lab.steps(cluster) == {"runs": "COMPLETED", "waits": "COMPLETED"}
    wait_until(lambda: saved(lab, cluster) == "TERMINATED", lambda: saved(lab, cluster))
    assert caplog.text.count("cannot be saved") == 1


def test_a_cluster_to_which_nothing_happens_is_not_saved_again_and_again(lab: Fake, monkeypatch):
    cluster = lab.start(keep=True)
    wait_until(lambda: lab.endpoint_state.store.clusters[cluster].idle_since_s is not None, lambda: "not idle")
    polls, saves = list[int](), list[int]()
    poll, save = StepRunner.poll, ClusterStore.save

    def count_poll(runner):
        polls.append(len(saves))
        poll(runner)

    def count_save(store):
        saves.append(1)
        return save(store)

    monkeypatch.setattr(ClusterStore, "save", count_save)
    monkeypatch.setattr(StepRunner, "poll", count_poll)
    wait_until(lambda: len(polls) > 10, lambda: str(polls))
    assert polls[-1] - polls[1] == 0


def test_what_fills_the_disk_can_be_ended(lab: Fake, disk):
    cluster = lab.start(step("fills", "sleep 600"), step("waits", "exit 0"), keep=True)
    lab.wait_step(cluster, "fills", "RUNNING")
    disk.append(True)
    lab.client.cancel_steps(ClusterId=cluster, StepIds=[lab.step(cluster, "fills")["Id"]])
    lab.wait_step(cluster, "fills", "CANCELLED")
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    assert lab.controllers["primary"].cluster is None
    disk.clear()
    after = lab.start(step("next", "exit 0"))
    lab.wait(after, "TERMINATED")
    assert saved(lab, cluster) == "TERMINATED"
