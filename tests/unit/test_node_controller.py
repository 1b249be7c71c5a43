"""A node's instance controller: who may ask it what, what a reset leaves, and the logs and versions it tells of."""

import hashlib
import hmac
import subprocess

import pytest

from base import sizing
from tests.unit.bare_node import Client, lives, pid_in, stray

pytestmark = pytest.mark.timeout(60)


# -- who may ask


def test_whoever_has_not_the_token_learns_nothing_but_the_nodes_name(client):
    client.reset()
    secret = b"job-secret-not-to-be-seen"
    assert client.token == hmac.new(secret, b"instance controller", hashlib.sha256).hexdigest()
    for wrong in ("", "x", "ü"):
        stranger = Client(client.port, wrong)
        assert stranger.ask("/") == {"node": "core-1", "cluster": "j-1", "processes": 0}
        for path, body in (("/logs", None), ("/versions", None), ("/reset", {}), ("/processes", {"argv": ["true"]})):
            assert stranger.refused(path, body)[0] == 403
    assert client.ask("/")["processes"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/nothing", None, 404, "the instance controller knows no /nothing"),
        ("/processes", {"argv": []}, 400, "argv is to be a list of texts, the program first"),
        ("/processes", {"argv": "true"}, 400, "argv is to be a list of texts, the program first"),
        ("/processes", {"argv": ["true"], "env": {"A": 1}}, 400, "env is to be an object of texts"),
        ("/processes", {"argv": ["true"], "stdout": "../../outside"}, 400, "'../../outside' is no name of a log below"),
        ("/processes", {"argv": ["true"], "stdout": "/etc/outside"}, 400, "'/etc/outside' is no name of a log below"),
        ("/processes", {"argv": ["no-such-program"]}, 400, "no-such-program cannot be started: No such file"),
        ("/processes", {"argv": ["a\0b"]}, 400, "cannot be started: embedded null byte"),
        ("/processes/p-0", None, 404, "core-1 has no process p-0"),
        ("/processes/p-0/kill", {}, 404, "core-1 has no process p-0"),
        ("/logs/none", None, 404, "core-1 has no log none"),
        ("/logs/../../env", None, 400, "'../../env' is no name of a log below"),
        ("/daemons", {"action": "restart"}, 400, "action 'restart': choose start or stop"),
        ("/reset", [], 400, "the body is to be an object"),
        (
            "/reset",
            {"configurations": [{"Classification": "hive-site"}]},
            400,
            "Classification hive-site: the lab knows",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(client, path, body, status, words):
    client.reset()
    code, said = client.refused(path, body)
    assert (code, said[: len(words)]) == (status, words) if not words.startswith("cannot") else words in said


def test_a_node_without_a_cluster_runs_nothing(client):
    assert client.refused("/processes", {"argv": ["true"]}) == (409, "core-1 belongs to no cluster; reset it first")
    assert client.refused("/daemons", {"action": "start"}) == (409, "core-1 has no configuration; reset it first")


# -- reset


def test_after_a_reset_nothing_is_left_of_the_cluster_before(client, node):
    client.reset()
    # YARN's containers are in sessions of their own, and no children of the process that started them.
    process = client.start(*stray())
    left = pid_in(client, process)
    client.ended(process)
    (node.data / "opt/emrlab/bin").mkdir(parents=True)
    (node.data / "hdfs").symlink_to(node.data / "opt")
    assert lives(left)

    client.reset()
    assert not lives(left)
    assert client.refused(f"/processes/{process}")[0] == 404
    assert sorted(entry.name for entry in node.data.iterdir()) == ["conf", "home", "opt", "s3", "tmp", "usr", "var"]
    assert not any((node.data / "opt").iterdir())
    assert client.ask("/logs") == []


def test_what_a_step_leaves_in_folders_of_everybody_is_removed(client, node, tmp_path):
    client.reset()
    (shared,) = node.shared
    (tmp_path / "kept").mkdir()
    leave = (
        f"cd {shared}; touch file .hidden; ln -s {tmp_path}/kept link; mkdir -p closed/inner; touch closed/inner/file; "
        f"chmod 0 closed/inner closed; mkdir -p {node.data}/home/closed/inner; chmod 0 {node.data}/home/closed; "
        f"chmod 500 {node.data}"
    )
    assert client.run("sh", "-c", leave)[0] == 0
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')"
    assert client.run("python3", "-c", deep, cwd=str(shared))[0] == 0
    client.reset()
    assert list(shared.iterdir()) == []
    assert not (node.data / "home/closed").exists()
    assert (tmp_path / "kept").exists()


def test_a_reset_ends_no_one_elses_process(client):
    other = subprocess.Popen(["sleep", "600"])
    try:
        client.reset()
        assert lives(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_reset_that_is_refused_changes_nothing(client, node):
    client.reset()
    (node.data / "opt/kept").touch()
    process = client.start("sleep", "600")
    client.refused("/reset", {"cluster": "j-2", "configurations": [{"Classification": "unknown"}]})
    assert client.ask("/") == {"node": "core-1", "cluster": "j-1", "processes": 1}
    assert (node.data / "opt/kept").exists()
    assert client.ask(f"/processes/{process}")["exit"] is None


def test_a_reset_says_what_the_node_has(client, monkeypatch):
    assert client.reset() == {
        "cluster": "j-1",
        "size": "asked m5.xlarge: 4 vCPU, 16 GiB, YARN 12288 MB",
        "yarn_mb": 12288,
    }
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=2, memory_mb=24 * 1024))
    said = client.reset()
    assert said["yarn_mb"] == 7680
    assert "-> given 1 vCPU, 10 GiB, YARN 7680 MB, because this host has 2 CPUs and 24 GiB" in said["size"]


# -- logs and versions


def test_logs_are_listed_by_their_place_below_var_log(client, node, tmp_path):
    client.reset()
    name = "hadoop-yarn/containers/application_1_0001/container_1_0001_01_000001/stderr"
    client.run("sh", "-c", "printf 12345 >&2", stderr=name, stdout="a b")
    (tmp_path / "secret").write_text("s")
    (node.logs / "link").symlink_to(tmp_path / "secret")
    assert client.ask("/logs") == [{"name": "a b", "bytes": 0}, {"name": name, "bytes": 5}]
    assert client.read(f"/logs/{name}?offset=2") == b"345"
    assert client.read("/logs/a%20b") == b""
    assert client.refused("/logs/link")[0] == 400


def test_versions_are_those_that_the_programs_tell(client):
    client.reset()
    found = client.ask("/versions")
    assert found.pop("python").startswith("3.")
    assert found == {"spark": "4.1.1", "scala": "2.13.17", "hadoop": "3.4.2", "java": "17.0.21"}
