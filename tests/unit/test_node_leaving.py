"""A node that leaves: what the primary tells YARN and HDFS, what the node is told, and how it is switched off."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from emr_lab.node import daemons
from tests.unit.bare_node import lives, wait_for

pytestmark = pytest.mark.timeout(60)


def excluded(node):
    """What YARN and HDFS read: timeouts by the names of nodes."""
    hosts = ElementTree.parse(node.conf / "hadoop/yarn-exclude.xml").getroot().iter("host")  # noqa: S314 - our own
    by_yarn = {host.findtext("name"): host.findtext("timeout") for host in hosts}
    assert (node.conf / "hadoop/hdfs-exclude").read_text().split() == list(by_yarn)
    return by_yarn


@pytest.fixture
def primary(client, node, monkeypatch):
    """The node as a primary whose masters run; `yarn` and `hdfs` note how they are called."""
    node.name = "primary"
    programs = node.data.parent / "bin"
    for name in ("yarn", "hdfs"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{node.data}/called"\n')
        (programs / name).chmod(0o755)
    master = replace(daemons.RESOURCEMANAGER, main="Daemon", arguments=(), up=lambda _: True)
    monkeypatch.setattr(daemons, "of", lambda _, **__: (master,))
    client.reset()
    client.ask("/daemons", {"action": "start"})
    return node


def test_yarn_and_hdfs_are_told_who_leaves_and_who_is_back(client, primary):
    assert excluded(primary) == {}
    assert client.ask("/decommissioning", {"timeouts_s": {"core-2": 120}}) == {}
    assert excluded(primary) == {"core-2": "120"}
    assert client.ask("/decommissioning", {"timeouts_s": {}}) == {}
    assert excluded(primary) == {}
    assert client.ask("/decommissioning", {"timeouts_s": {"core-2": 0}}) == {}
    assert (primary.data / "called").read_text().splitlines() == [
        "yarn rmadmin -refreshNodes -g 120 -server",
        "hdfs dfsadmin -refreshNodes",
        "yarn rmadmin -refreshNodes",
        "hdfs dfsadmin -refreshNodes",
        "yarn rmadmin -refreshNodes",
        "hdfs dfsadmin -refreshNodes",
    ]


def test_masters_that_refuse_are_told_in_one_line(client, primary):
    (primary.data.parent / "bin/hdfs").write_text("#!/bin/sh\necho 'refreshNodes: Connection refused' >&2; exit 255\n")
    code, words = client.refused("/decommissioning", {"timeouts_s": {"core-2": 0}})
    assert (code, words) == (500, "hdfs dfsadmin -refreshNodes failed: refreshNodes: Connection refused")


@pytest.mark.parametrize("timeouts_s", [None, ["core-2"], {"core-2": "1"}, {"<x/>": 1}, {"core-2\ncore-1": 1}])
def test_names_and_timeouts_are_no_markup(client, primary, timeouts_s):
    assert client.refused("/decommissioning", {"timeouts_s": timeouts_s})[0] == 400
    assert excluded(primary) == {}


def test_a_core_node_has_nobody_to_tell(client, node):
    client.reset()
    code, words = client.refused("/decommissioning", {"timeouts_s": {}})
    assert (code, words) == (409, "core-1 runs neither YARN's nor HDFS's master")


def test_what_hdfs_says_of_its_datanodes(monkeypatch):
    live = json.dumps({"core-1:9866": {"adminState": "In Service"}, "core-2:9866": {"adminState": "Decommissioned"}})
    monkeypatch.setattr(daemons, "_bean", lambda *_: {"LiveNodes": live})
    assert daemons.datanodes() == {"core-1": "In Service", "core-2": "Decommissioned"}

    def refuse(*_):
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(daemons, "_bean", refuse)
    with pytest.raises(daemons.DaemonError, match="the NameNode does not tell of its DataNodes: refused"):
        daemons.datanodes()


def test_a_node_that_is_switched_off_has_no_time_for_anything(client, node):
    client.reset()
    script = f"trap 'touch {node.data.parent}/said-goodbye' TERM; touch $HOME/left; while :; do sleep 0.05; done"
    process = client.start("sh", "-c", script)
    pid = client.ask(f"/processes/{process}")["pid"]
    wait_for((node.data / "home/left").exists, bool)
    client.ask("/interruption", {"time_s": 1000})
    assert client.ask("/power-off", {}) == {}
    assert not lives(pid)
    assert not (node.data.parent / "said-goodbye").exists()
    assert list(node.data.iterdir()) == []
    assert client.ask("/")["cluster"] is None
    assert node.interruption_s is None
    assert client.reset()["cluster"] == "j-1"
