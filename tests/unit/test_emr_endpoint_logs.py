"""Logs that are too large, that are removed, and that have names of their own."""

from __future__ import annotations

import gzip

import pytest

from emr_lab.endpoint import logs
from emr_lab.endpoint.nodes import NodeClient
from tests.unit.fake_nodes import Fake, step, wait_until

MOST, TAIL, PART = 1000, 100, 300


@pytest.fixture
def small(monkeypatch):
    """The lab brings a thousand bytes of a log, and its last hundred; the longest answer of a node."""
    for name, number in (("MOST_BYTES", MOST), ("TAIL_BYTES", TAIL), ("PART_BYTES", PART)):
        monkeypatch.setattr(logs, name, number)
    longest, read = [0], NodeClient._read

    def spy(client, path, body=None, **more):
        content = read(client, path, body, **more)
        if "?" in path:
            longest.append(len(content))
        return content

    monkeypatch.setattr(NodeClient, "_read", spy)
    return longest


def test_of_a_log_that_is_too_large_the_beginning_and_the_end_come(lab: Fake, small):
    container = "hadoop-yarn/containers/application_1_0001/container_1_0001_01_000001/stdout"
    large = lab.controllers["core-1"].logs / container
    script = f"mkdir -p {large.parent}; seq 100000 99999999 | head -c 5000 > {large}; cat {large}; echo ValueError: so"
    cluster = lab.start(step("large", f"{script}; echo 'Traceback (most recent call last):'; echo KeyError: 1; exit 1"))
    lab.wait(cluster, "TERMINATED")
    found = lab.step(cluster, "large")
    whole = "".join(f"{number}\n" for number in range(100000, 100999))[:5000]
    end = f"{whole}ValueError: so\nTraceback (most recent call last):\nKeyError: 1\n"[-TAIL:]
    cut = logs.CUT.decode()
    assert lab.log(f"{cluster}/steps/{found['Id']}/stdout") == whole[:MOST] + cut + end
    assert found["Status"]["FailureDetails"]["Message"] == "KeyError: 1"
    name = container.removeprefix(logs.CONTAINERS)
    assert lab.log(f"{cluster}/containers/{name}") == whole[:MOST] + cut + whole[-TAIL:]
    assert max(small) == PART


@pytest.mark.parametrize("size", [0, 1, PART, MOST - 1, MOST, MOST + 1, MOST + TAIL - 1])
def test_a_log_is_whole_up_to_the_end_of_its_beginning(small, size):
    content = bytes(number % 251 for number in range(size))
    written: list[bytes] = []

    class S3:
        def put_object(self, *, Body, **_):  # noqa: N803 - boto3's
            written.append(Body)

    log = logs.IncrementalLog(
        logs.LogBucket(S3(), "s3://bucket/logs"),
        "stdout",
        lambda offset, most: content[offset:][:most],
    )
    log.push()
    log.push()
    assert [gzip.decompress(each) for each in written] == [content]
    assert log.tail == content[-TAIL:]


def test_a_step_may_remove_its_own_log(lab: Fake):
    go = lab.root / "go"
    logs_of_steps = lab.controllers["primary"].logs / "hadoop"
    script = f"echo begun; while [ ! -e {go} ]; do sleep 0.02; done; rm -r {logs_of_steps}; sleep 0.5"
    cluster = lab.start(step("cleans", script), step("after", "exit 0"))
    name = f"{cluster}/steps/{lab.step(cluster, 'cleans')['Id']}/stdout"
    wait_until(lambda: lab.log(name) == "begun\n", lambda: str(lab.log(name)))
    go.touch()
    lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")
    assert lab.steps(cluster) == {"cleans": "COMPLETED", "after": "COMPLETED"}
    assert lab.log(name) == "begun\n"


def test_a_log_s_name_is_its_programs_own_choice(lab: Fake):
    folder = lab.controllers["primary"].logs
    script = f"cd {folder}; echo 1 > 'a?offset=9&b'; echo 2 > $(printf 'b\\377'); echo 3 > 'c %41 ü'; echo 4 > d"
    cluster = lab.start(step("writes", script))
    lab.wait(cluster, "TERMINATED")
    master = lab.client.list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"])["Instances"][0]
    applications = f"{cluster}/node/{master['Ec2InstanceId']}/applications"
    assert [lab.log(f"{applications}/{name}") for name in ("a?offset=9&b", "c %41 ü", "d")] == ["1\n", "3\n", "4\n"]
