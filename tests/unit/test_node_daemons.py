"""YARN's and HDFS's daemons: started once, waited for, stopped, and told about when they end."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from emr_lab.node import daemons
from tests.unit.bare_node import lives, wait_for

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def up(monkeypatch):
    """Say which daemons the primary knows; the node has two, DataNode and NodeManager in name."""
    known = set[str]()
    pair = (
        replace(daemons.NODEMANAGER, main="Daemon", up=lambda _: "nodemanager" in known),
        replace(daemons.DATANODE, main="Daemon", up=lambda _: "datanode" in known),
    )
    monkeypatch.setattr(daemons, "of", lambda _, *, alone, data: pair)
    monkeypatch.setattr(daemons, "POLL_S", 0.02)
    return known


def pids(node):
    """The processes of all daemons that were started since the last reset."""
    file = node.data / "pids"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def test_daemons_are_started_once_waited_for_and_stopped(client, node, up):
    heaps = {"YARN_NODEMANAGER_HEAPSIZE": "300", "HADOOP_DATANODE_HEAPSIZE": "300"}
    export = {"Classification": "export", "Properties": heaps}
    client.reset({"Classification": "yarn-env", "Configurations": [export]})
    up.add("datanode")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.ask, "/daemons", {"action": "start"})
        wait_for(lambda: pids(node), lambda started: len(started) == 2)
        time.sleep(0.2)
        assert not answer.done()
        assert client.ask("/")["cluster"] == "j-1"  # it answers meanwhile
        up.add("nodemanager")
        assert answer.result(timeout=10) == {}
    daemon_pids = pids(node)
    assert all(map(lives, daemon_pids))
    assert "-Xmx300m" in (node.data / "started").read_text().split()
    assert client.ask("/daemons", {"action": "start"}) == {}
    assert pids(node) == daemon_pids
    assert client.ask("/daemons", {"action": "stop"}) == {}
    assert not any(map(lives, daemon_pids))
    assert "hadoop-yarn/hadoop-yarn-nodemanager-core-1.log" in [log["name"] for log in client.ask("/logs")]


def test_a_daemon_that_ends_is_told_with_its_last_words(client, up, monkeypatch):
    broken = replace(daemons.NODEMANAGER, main="Broken", up=lambda _: False)
    monkeypatch.setattr(daemons, "of", lambda _, *, alone, data: (broken,))
    client.reset()
    code, said = client.refused("/daemons", {"action": "start"})
    assert (code, said) == (500, "nodemanager on core-1 has ended with code 3: FATAL: no port is free")


def test_a_daemon_that_does_not_come_up_is_told_at_the_deadline(node, up, monkeypatch):
    node.reset("j-1", [])
    monkeypatch.setattr(
        daemons, "wait", lambda started, node, wait=daemons.wait: wait(started, node=node, deadline_s=0.1)
    )
    with pytest.raises(daemons.DaemonError, match=r"nodemanager on core-1 is not up after 0 s: it has said nothing"):
        node.start_daemons(data=True)


def test_hdfs_is_made_once_after_a_reset(node, monkeypatch):
    node.name = "primary"
    name = replace(daemons.NAMENODE, main="Daemon", up=lambda _: True)
    monkeypatch.setattr(daemons, "NAMENODE", name)
    monkeypatch.setattr(daemons, "of", lambda _, *, alone, data: (name,))
    node.reset("j-1", [])
    for _ in range(2):
        node.start_daemons(data=True)
        node.stop_daemons()
    assert (node.logs / "formats").read_text() == "formatted\n"
    node.reset("j-2", [])
    node.start_daemons(data=True)
    assert (node.logs / "formats").read_text() == "formatted\n"


def test_which_daemons_run_where():
    def names(node, **how):
        return {daemon.name for daemon in daemons.of(node, **how)}

    leading, working = {"namenode", "resourcemanager"}, {"datanode", "nodemanager"}
    assert names("primary", alone=False, data=False) == leading
    assert names("core-2", alone=False, data=True) == working
    assert names("core-2", alone=False, data=False) == {"nodemanager"}, "a task node"
    assert names("primary", alone=False, data=True) == leading | {"datanode"}, "beside task nodes alone"
    assert names("primary", alone=True, data=True) == leading | working


def test_a_primary_that_is_alone_runs_a_core_nodes_daemons_too(client, node, monkeypatch):
    node.name = "primary"
    for name in ("RESOURCEMANAGER", "NAMENODE", "NODEMANAGER", "DATANODE"):
        monkeypatch.setattr(
            daemons, name, replace(getattr(daemons, name), main="Daemon", arguments=(), up=lambda _: True)
        )
    client.reset()
    assert client.ask("/daemons", {"action": "start", "data": False}) == {}
    wait_for(lambda: pids(node), lambda started: len(started) == 2)
    client.ask("/reset", {"cluster": "j-1", "configurations": [], "alone": True})
    assert client.ask("/daemons", {"action": "start", "data": True}) == {}
    wait_for(lambda: pids(node), lambda started: len(started) == 4)
    running = pids(node)
    assert client.ask("/daemons", {"action": "stop"}) == {}
    assert not any(map(lives, running))
