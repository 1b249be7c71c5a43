"""Machines that are taken away, as Amazon takes back those on spot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.errors import EmrlabError
from emr_lab.endpoint import interrupt
from tests.unit.changing_clusters import TASK, group, machines, resize, start, wait_group
from tests.unit.fake_nodes import CORE, MASTER, Fake, action, groups, step, wait_until

KEY = {"DATA_ACCESS_KEY_ID": "test", "DATA_SECRET_ACCESS_KEY": "test"}


def chaos(lab: Fake, **members: Any) -> dict[str, Any]:
    return interrupt.ask(members, key=KEY, url=f"{lab.url}/")


def instance(lab: Fake, cluster: str, ec2: str) -> dict[str, Any]:
    found = lab.client.list_instances(ClusterId=cluster)["Instances"]
    return dict(next(each for each in found if each["Ec2InstanceId"] == ec2))


def test_a_node_gets_its_notice_goes_and_is_replaced_while_a_step_runs(lab: Fake):
    go = lab.root / "go"
    cluster = start(lab, step("runs", f"while [ ! -e {go} ]; do sleep 0.02; done"), core=2)
    lab.wait_step(cluster, "runs", "RUNNING")
    told = chaos(lab, Node="core-2", AfterSeconds=30)
    assert (told["Node"], told["Market"], told["ClusterId"]) == ("core-2", "ON_DEMAND", cluster)
    node, primary = lab.controllers["core-2"], lab.controllers["primary"]
    time.sleep(0.2)
    assert (node.interruption_s, primary.told) == (None, [])
    lab.clock.passed_s += 30
    wait_until(lambda: bool(primary.told), lambda: "YARN and HDFS were not told")
    assert 115 <= primary.told[0]["core-2"] <= 120
    assert node.interruption_s is not None
    assert abs(node.interruption_s - lab.clock() - 120) < 10
    assert lab.yarn.nodes["core-2"]["state"] == "DECOMMISSIONING"
    assert machines(lab, cluster) == ["core-1", "core-2", "primary"]
    assert group(lab, cluster)["Status"]["State"] == "RESIZING"
    lab.clock.passed_s += 121
    wait_until(lambda: node.off == 1, lambda: "core-2 still runs")
    wait_until(lambda: primary.told[-1] == {"core-2": 0}, lambda: str(primary.told))
    status = instance(lab, cluster, told["Ec2InstanceId"])["Status"]
    assert status["State"] == "TERMINATED"
    assert status["StateChangeReason"]["Code"] == "INSTANCE_FAILURE"
    assert "was interrupted" in status["StateChangeReason"]["Message"]
    assert (group(lab, cluster)["RequestedInstanceCount"], group(lab, cluster)["RunningInstanceCount"]) == (2, 1)
    lab.clock.passed_s += 60
    wait_group(lab, cluster, "RUNNING", 2)
    assert primary.told[-1] == {}
    assert machines(lab, cluster) == ["core-1", "core-2", "primary"]
    go.touch()
    lab.wait_step(cluster, "runs", "COMPLETED")
    assert lab.state(cluster) == "WAITING"


def test_a_node_on_spot_goes_first_and_no_other_comes_for_as_long_as_is_said(lab: Fake):
    cluster = start(lab, **groups(MASTER, CORE | {"InstanceCount": 1}, TASK))
    told = chaos(lab, NoticeSeconds=0, ReplaceAfterSeconds=3600)
    assert (told["Node"], told["Market"]) == ("core-2", "SPOT")
    wait_until(lambda: machines(lab, cluster) == ["core-1", "primary"], lambda: str(machines(lab, cluster)))
    lab.clock.passed_s += 3500
    time.sleep(0.2)
    assert machines(lab, cluster, "PROVISIONING", "BOOTSTRAPPING", "RUNNING") == ["core-1", "primary"]
    assert group(lab, cluster, "TASK")["Status"]["State"] == "RESIZING"
    lab.clock.passed_s += 200
    wait_until(lambda: machines(lab, cluster) == ["core-1", "core-2", "primary"], lambda: str(machines(lab, cluster)))


@pytest.fixture
def comes(lab: Fake) -> Iterator[tuple[str, Path]]:
    """A cluster to which core-2 is coming, and the file that its bootstrap action waits for."""
    go = lab.root / "go"
    waits = lab.put("waits.sh", f"case $NODE_NAME in core-2) while [ ! -e {go} ]; do sleep 0.02; done;; esac")
    cluster = start(lab, BootstrapActions=[action("waits", waits)])
    resize(lab, cluster, 2)
    wait_until(lambda: machines(lab, cluster, "BOOTSTRAPPING") == ["core-2"], lambda: str(machines(lab, cluster)))
    yield cluster, go
    go.touch()


def test_a_notice_and_an_end_wait_for_no_node_that_comes(lab: Fake, comes: tuple[str, Path]):
    cluster, go = comes
    chaos(lab, Node="core-1", AfterSeconds=30, ReplaceAfterSeconds=0)
    node, primary = lab.controllers["core-1"], lab.controllers["primary"]
    lab.clock.passed_s += 30
    wait_until(lambda: node.interruption_s is not None, lambda: "no notice")
    wait_until(lambda: bool(primary.told), lambda: "YARN and HDFS were not told")
    assert list(primary.told[-1]) == ["core-1"]
    lab.clock.passed_s += 120
    wait_until(lambda: node.off == 1, lambda: "core-1 still runs")
    assert machines(lab, cluster, "BOOTSTRAPPING")[-1] == "core-2", "and that one is still on its way"
    wait_until(lambda: machines(lab, cluster) == ["core-1", "primary"], lambda: "core-1 was not replaced")
    go.touch()
    wait_group(lab, cluster, "RUNNING", 2)


def test_a_notice_and_an_end_wait_for_no_node_that_goes(lab: Fake, monkeypatch):
    cluster = start(lab, core=2)
    reset, goes, go = lab.controllers["core-2"].reset, threading.Event(), threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Any:
        goes.set()
        go.wait(30)
        return reset(*args, **kwargs)

    monkeypatch.setattr(lab.controllers["core-2"], "reset", slowly)
    lab.yarn.nodes["core-1"]["numContainers"] = 1
    lab.controllers["primary"].hdfs["core-2"] = "Decommissioned"
    resize(lab, cluster, 1)
    assert goes.wait(30), "core-2 does not go"
    chaos(lab, Node="core-1", NoticeSeconds=20)
    wait_until(lambda: lab.controllers["core-1"].interruption_s is not None, lambda: "no notice")
    lab.clock.passed_s += 20
    wait_until(lambda: lab.controllers["core-1"].off == 1, lambda: "core-1 still runs")
    go.set()


def test_a_node_that_is_not_wanted_any_more_goes_when_it_has_come(lab: Fake, comes: tuple[str, Path]):
    cluster, go = comes
    lab.yarn.nodes["core-1"]["numContainers"] = 1
    resize(lab, cluster, 1)
    time.sleep(0.2)
    primary = lab.controllers["primary"]
    assert primary.told == [], "its daemons would not start where YARN does without them"
    primary.hdfs["core-2"] = "Decommissioned"
    go.touch()
    wait_group(lab, cluster, "RUNNING", 1)
    assert machines(lab, cluster) == ["core-1", "primary"]
    assert "core-2" in primary.told[0]


def test_a_node_that_is_silent_after_its_notice_does_not_end_the_cluster(lab: Fake, monkeypatch):
    monkeypatch.setattr("emr_lab.endpoint.provisioning.NODE_SILENCE_S", 0.1)
    cluster = start(lab, core=2)
    chaos(lab, Node="core-2")
    wait_until(lambda: lab.controllers["core-2"].interruption_s is not None, lambda: "no notice")
    wait_group(lab, cluster, "RESIZING", 2)
    lab.servers["core-2"].shutdown()
    lab.servers["core-2"].server_close()
    time.sleep(0.5)
    assert lab.state(cluster) == "WAITING"
    lab.clock.passed_s += 120
    wait_group(lab, cluster, "RESIZING", 1)
    assert lab.state(cluster) == "WAITING"


def test_restart_of_the_endpoint_between_the_notice_and_the_end(lab: Fake):
    cluster = start(lab, core=2)
    told = chaos(lab, Node="core-1", NoticeSeconds=100, ReplaceAfterSeconds=0)
    wait_until(lambda: lab.controllers["core-1"].interruption_s is not None, lambda: "no notice")
    lab.restart()
    assert instance(lab, cluster, told["Ec2InstanceId"])["Status"]["State"] == "RUNNING"
    lab.clock.passed_s += 100
    wait_until(lambda: lab.controllers["core-1"].off == 1, lambda: "core-1 still runs")
    wait_group(lab, cluster, "RUNNING", 2)
    assert lab.state(cluster) == "WAITING"


def test_a_node_that_is_gone_before_its_end_ends_as_well(lab: Fake):
    cluster = start(lab, core=2)
    chaos(lab, Node="core-2", NoticeSeconds=0, AfterSeconds=5)
    lab.servers["core-2"].shutdown()
    lab.servers["core-2"].server_close()
    lab.clock.passed_s += 6
    wait_group(lab, cluster, "RESIZING", 1)
    assert lab.state(cluster) == "WAITING"
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Node": "primary"}, "A cluster ends with its primary node"),
        ({"Node": "core-2"}, "has no node core-2 to lose; it has core-1"),
        ({"NoticeSeconds": -1}, "NoticeSeconds -1 is to be 0 to 86400 seconds"),
        ({"AfterSeconds": "soon"}, "AfterSeconds 'soon' is to be"),
    ],
)
def test_what_cannot_be_taken_away_is_one_line(lab: Fake, members, words):
    start(lab)
    with pytest.raises(EmrlabError, match=words):
        chaos(lab, **members)


def test_nothing_is_taken_away_twice_or_where_nothing_runs(lab: Fake):
    with pytest.raises(EmrlabError, match="No cluster is running or waiting"):
        chaos(lab)
    start(lab, core=2)
    chaos(lab, Node="core-2")
    with pytest.raises(EmrlabError, match=r"core-2 \(i-0.*\) is being taken back already"):
        chaos(lab, Node="core-2")


def test_who_has_not_the_laptops_key_takes_nothing_away(lab: Fake):
    start(lab, core=2)
    with pytest.raises(EmrlabError, match="signature"):
        interrupt.ask({}, key=KEY | {"DATA_SECRET_ACCESS_KEY": "guessed"}, url=f"{lab.url}/")


def test_what_is_going_to_happen_is_said_before(lab: Fake):
    cluster = start(lab, core=2)
    said = interrupt.words(chaos(lab, Node="core-2")).splitlines()
    assert "core-2 (i-0" in said[0]
    assert f"{cluster}) gets its notice" in said[0]
    assert [line.split(" ", 1)[1] for line in said[1:3]] == ["it is switched off", "a machine can take its place"]
    assert said[3] == "on Amazon an ON_DEMAND machine has no notice and is not taken back"


@pytest.mark.parametrize("argv", [["--node", "primary"], ["--notice-s", "soon"], ["--spot"]])
def test_a_mistake_on_the_command_line_is_one_line(argv, capsys):
    assert interrupt.main(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
