"""A node's instance controller over HTTP, with real processes; shell scripts stand in for Java and its daemons."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree

import pytest
from botocore.session import Session

from lab import sizing
from lab.emr import configuration, controller, daemons, metadata, processes

pytestmark = pytest.mark.timeout(60)

S3A = Path(controller.__file__).parents[2] / "launch" / "s3a.conf"
COMMANDS = S3A.parents[1] / "docker" / "emr-node" / "bin"
KEY = {"AWS_ACCESS_KEY_ID": "job-key", "AWS_SECRET_ACCESS_KEY": "job-secret-not-to-be-seen"}
M5 = sizing.instance("m5.xlarge")
# What these programs print, cut to the lines that count.
PROGRAMS = {
    "spark-submit": "echo 'Welcome to Spark version 4.1.1' >&2; echo 'Using Scala version 2.13.17, OpenJDK' >&2",
    "java": """case "$*" in
*-format*) mkdir "$DATA/namenode"; echo formatted >>"$DATA/var/log/formats" ;;
*-version) echo 'openjdk version "17.0.21" 2026-10-20' >&2 ;;
*VersionInfo) echo 'Hadoop 3.4.2' ;;
*Broken) echo 'INFO starting' >&2; echo 'FATAL: no port is free' >&2; echo >&2; exit 3 ;;
*Daemon) echo "$@" >"$DATA/started"; exec sleep 600 ;;
esac""",
}


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A core node whose big waits are short; what it started is ended."""
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=8, memory_mb=64 * 1024))
    data, programs = tmp_path / "mnt", tmp_path / "bin"
    data.mkdir()
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\nDATA={data}\n{body}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in KEY.items()))
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NODE": "core-1",
        "INSTANCE_TYPE": "m5.xlarge",
        "AWS_REGION": "eu-west-3",
        "AWS_ENDPOINT_URL_S3": "http://minio:9000",
    }
    made = controller.Node(name="core-1", data=data, s3a=S3A, environment=environment, credentials=tmp_path / "env")
    yield made
    made.reset(None, [])


@pytest.fixture
def client(node):
    """Ask the node's controller as the endpoint does."""
    serving = controller.server(node, address="127.0.0.1", port=0)
    threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
    yield Client(serving.server_port, controller.token(node.credentials))
    serving.shutdown()
    serving.server_close()


def http(port, path, *, content=None, headers):
    """GET, or POST of `content`: status and body of the answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET" if content is None else "POST", path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Client:
    def __init__(self, port, token):
        self.port, self.token = port, token

    def answer(self, path, body):
        content = None if body is None else json.dumps(body)
        return http(self.port, path, content=content, headers={"X-Token": self.token.encode()})

    def read(self, path, body=None):
        status, content = self.answer(path, body)
        assert status == 200, content
        return content

    def ask(self, path, body=None):
        return json.loads(self.read(path, body))

    def refused(self, path, body=None):
        """Status and words of a refusal, which are one line."""
        status, content = self.answer(path, body)
        words = json.loads(content)["error"]
        assert "\n" not in words
        return status, words

    def reset(self, *configurations):
        return self.ask("/reset", {"cluster": "j-1", "configurations": list(configurations)})

    def start(self, *argv, **more):
        return self.ask("/processes", {"argv": list(argv), "env": {}, "cwd": None, **more})["id"]

    def ended(self, process):
        return wait_for(lambda: self.ask(f"/processes/{process}"), lambda found: found["exit"] is not None)

    def run(self, *argv, **more):
        process = self.start(*argv, **more)
        code = self.ended(process)["exit"]
        return code, *(self.read(f"/processes/{process}/{name}").decode() for name in ("stdout", "stderr"))


def wait_for(ask, good):
    end = time.monotonic() + 20
    while not good(found := ask()):
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.02)
    return found


def lives(pid):
    """Whether it runs; one that has ended and waits for its parent does not."""
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(stat.strip()) and not stat.startswith("Z")


def pid_in(client, process):
    text = wait_for(lambda: client.read(f"/processes/{process}/stdout").decode(), lambda said: said.endswith("\n"))
    return int(text.split()[-1])


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


# -- processes


def test_a_process_has_its_output_exit_code_environment_and_place(client, node):
    client.reset()
    script = 'echo "$GIVEN $USER $HOME ${AWS_REGION-none} ${INSTANCE_TYPE-none}"; pwd; echo trouble >&2; exit 7'
    code, out, err = client.run("sh", "-c", script, env={"GIVEN": "a b"}, stdout="hadoop/steps/s-1/stdout")
    home = node.data / "home"
    assert (code, out, err) == (7, f"a b hadoop {home} none none\n{home}\n", "trouble\n")
    assert (node.logs / "hadoop/steps/s-1/stdout").read_text() == out
    assert client.run("pwd", cwd=str(node.data))[1] == f"{node.data}\n"


def test_the_key_is_in_no_environment(client):
    client.reset()
    assert "job-secret" not in client.run("env")[1]


def test_output_is_read_while_it_grows_and_from_where_one_left_off(client, node):
    client.reset()
    process = client.start("sh", "-c", f"printf one; while [ ! -e {node.data}/go ]; do sleep 0.02; done; printf two")
    wait_for(lambda: client.ask(f"/processes/{process}")["stdout_bytes"], lambda size: size == 3)
    assert client.read(f"/processes/{process}/stdout") == b"one"
    assert client.ask("/")["processes"] == 1
    (node.data / "go").touch()
    assert client.ended(process)["stdout_bytes"] == 6
    assert client.read(f"/processes/{process}/stdout?offset=3") == b"two"
    assert client.read(f"/processes/{process}/stdout?offset=60") == b""
    assert client.refused(f"/processes/{process}/stdout?offset=-1")[0] == 400
    assert client.ask("/")["processes"] == 0


def test_a_killed_process_takes_its_children_along(client):
    client.reset()
    process = client.start("sh", "-c", "sleep 600 & echo $!; wait")
    child = pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGTERM}
    assert not lives(child)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGTERM}


def test_a_process_that_does_not_heed_term_is_killed(client):
    client.reset()
    process = client.start("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    pid = pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGKILL}
    assert not lives(pid)


def test_one_that_ends_well_at_term_has_the_time_to(client):
    client.reset()
    process = client.start("sh", "-c", "trap 'echo saved; exit 3' TERM; echo $$; while :; do sleep 0.05; done")
    pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": 3}
    assert client.read(f"/processes/{process}/stdout").endswith(b"saved\n")


# -- reset


def test_after_a_reset_nothing_is_left_of_the_cluster_before(client, node):
    client.reset()
    # YARN's containers are in sessions of their own, and no children of the process that started them.
    away = "import os, subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    process = client.start("python3", "-c", away)
    stray = pid_in(client, process)
    client.ended(process)
    (node.data / "opt/emrlab/bin").mkdir(parents=True)
    (node.data / "hdfs").symlink_to(node.data / "opt")
    assert lives(stray)

    client.reset()
    assert not lives(stray)
    assert client.refused(f"/processes/{process}")[0] == 404
    assert sorted(entry.name for entry in node.data.iterdir()) == ["conf", "home", "opt", "s3", "tmp", "var"]
    assert not any((node.data / "opt").iterdir())
    assert client.ask("/logs") == []


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


# -- configuration


def site(node, name):
    found = ElementTree.parse(node.conf / "hadoop" / f"{name}.xml").getroot()  # noqa: S314 - our own
    return {entry.findtext("name"): entry.findtext("value") for entry in found}


def spark_defaults(node):
    lines = (node.conf / "spark/spark-defaults.conf").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_configuration_is_emrs_for_an_m5_xlarge(client, node):
    client.reset()
    yarn, core = site(node, "yarn-site"), site(node, "core-site")
    assert yarn["yarn.nodemanager.resource.memory-mb"] == yarn["yarn.scheduler.maximum-allocation-mb"] == "12288"
    assert yarn["yarn.scheduler.minimum-allocation-mb"] == "32"
    assert yarn["yarn.nodemanager.pmem-check-enabled"] == "true"
    assert core["fs.defaultFS"].startswith("hdfs://")
    assert core["fs.s3.impl"] == "org.apache.hadoop.fs.s3a.S3AFileSystem"
    assert core["fs.s3a.endpoint"] == "http://minio:9000"
    scheduler = site(node, "capacity-scheduler")
    assert scheduler["yarn.scheduler.capacity.resource-calculator"].endswith("DefaultResourceCalculator")
    assert scheduler["yarn.scheduler.capacity.maximum-am-resource-percent"] == "0.100"
    spark = spark_defaults(node)
    assert (spark["spark.master"], spark["spark.executor.cores"]) == ("yarn", "4")
    assert (spark["spark.executor.memory"], spark["spark.driver.memory"]) == ("9486M", "2048M")
    # A node's key comes from the metadata service: S3A's list of places is its own.
    assert not any("credentials" in key for key in [*spark, *core])


@pytest.mark.parametrize("yarn_mb", [2304, 7488, 12288, 24576])
def test_the_default_executor_leaves_room_for_the_application_master_of_client_mode(yarn_mb):
    given = configuration.executor(replace(M5, yarn_mb=yarn_mb))
    heap_mb = sizing.memory_mb(given["spark.executor.memory"])
    overhead_mb = max(384, int(heap_mb * 0.1875))
    assert heap_mb + overhead_mb <= yarn_mb - sizing.APPLICATION_MASTER_MB


def test_as_many_applications_run_at_once_on_small_nodes_as_on_emrs(client, node, monkeypatch):
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=2, memory_mb=24 * 1024))
    yarn_mb = client.reset()["yarn_mb"]
    share = float(site(node, "capacity-scheduler")["yarn.scheduler.capacity.maximum-am-resource-percent"])
    assert share * yarn_mb == pytest.approx(0.1 * 12288, rel=0.01)


def test_a_clusters_configurations_win(client, node):
    client.reset(
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "2g", "spark.a": "b  c = d"}},
        {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.pmem-check-enabled": "false"}},
        {"Classification": "core-site", "Properties": {"own": '<a> & "b"'}},
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "3g"}},
    )
    spark = spark_defaults(node)
    assert (spark["spark.executor.memory"], spark["spark.a"], spark["spark.master"]) == ("3g", "b  c = d", "yarn")
    assert site(node, "yarn-site")["yarn.nodemanager.pmem-check-enabled"] == "false"
    assert site(node, "core-site")["own"] == '<a> & "b"'
    client.reset()
    assert "own" not in site(node, "core-site")


def test_exported_variables_are_texts_for_the_shell_not_commands(client, node):
    value = 'it\'s $HOME; `touch x` "q"'
    export = {"Classification": "export", "Properties": {"AWS_REGION": "eu-west-3", "ODD": value}}
    client.reset({"Classification": "spark-env", "Configurations": [export]})
    shown = 'printf "%s|%s|%s" "$AWS_REGION" "$ODD" "$PYSPARK_PYTHON"'
    _, out, _ = client.run("sh", "-c", f". {node.conf}/spark/spark-env.sh; {shown}")
    assert out == f"eu-west-3|{value}|/usr/bin/python3"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Classification": "spark-env", "Properties": {"A": "b"}}, "its variables stand in a nested `export`"),
        ({"Classification": "yarn-site", "Configurations": [{}]}, "has no nested Configurations"),
        ({"Classification": "spark-defaults", "Properties": {"a": "b\nspark.master local"}}, "a is no line of text"),
        ({"Classification": "spark-defaults", "Properties": {"a": 1}}, "a is no line of text"),
        (
            {
                "Classification": "spark-env",
                "Configurations": [{"Classification": "export", "Properties": {"A;b": "c"}}],
            },
            "'A;b' is no name of a variable",
        ),
    ],
)
def test_configurations_that_are_not_of_their_kind_are_refused(client, wrong, words):
    code, said = client.refused("/reset", {"cluster": "j-1", "configurations": [wrong]})
    assert code == 400
    assert words in said


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


# -- daemons


@pytest.fixture
def up(monkeypatch):
    """Say which daemons the primary knows; the node has two, DataNode and NodeManager in name."""
    known = set[str]()
    pair = (
        replace(daemons.NODEMANAGER, main="Daemon", up=lambda _: "nodemanager" in known),
        replace(daemons.DATANODE, main="Daemon", up=lambda _: "datanode" in known),
    )
    monkeypatch.setattr(daemons, "of", lambda _: pair)
    monkeypatch.setattr(daemons, "POLL_S", 0.02)
    return known


def test_daemons_are_started_once_waited_for_and_stopped(client, node, up):
    heaps = {"YARN_NODEMANAGER_HEAPSIZE": "300", "HADOOP_DATANODE_HEAPSIZE": "300"}
    export = {"Classification": "export", "Properties": heaps}
    client.reset({"Classification": "yarn-env", "Configurations": [export]})
    up.add("datanode")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.ask, "/daemons", {"action": "start"})
        wait_for(lambda: len(node._daemons), lambda count: count == 2)
        time.sleep(0.2)
        assert not answer.done()
        assert client.ask("/")["cluster"] == "j-1"  # it answers meanwhile
        up.add("nodemanager")
        assert answer.result(timeout=10) == {}
    pids = [process.pid for process in node._daemons.values()]
    assert all(map(lives, pids))
    assert "-Xmx300m" in (node.data / "started").read_text().split()
    assert client.ask("/daemons", {"action": "start"}) == {}
    assert [process.pid for process in node._daemons.values()] == pids
    assert client.ask("/daemons", {"action": "stop"}) == {}
    assert not any(map(lives, pids))
    assert "hadoop-yarn/hadoop-yarn-nodemanager-core-1.log" in [log["name"] for log in client.ask("/logs")]


def test_a_daemon_that_ends_is_told_with_its_last_words(client, up, monkeypatch):
    broken = replace(daemons.of("core-1")[0], main="Broken", up=lambda _: False)
    monkeypatch.setattr(daemons, "of", lambda _: (broken,))
    client.reset()
    code, said = client.refused("/daemons", {"action": "start"})
    assert (code, said) == (500, "nodemanager on core-1 has ended with code 3: FATAL: no port is free")


def test_a_daemon_that_does_not_come_up_is_told_at_the_deadline(node, up, monkeypatch):
    node.reset("j-1", [])
    monkeypatch.setattr(
        daemons, "wait", lambda started, node, wait=daemons.wait: wait(started, node=node, deadline_s=0.1)
    )
    with pytest.raises(daemons.DaemonError, match=r"nodemanager on core-1 is not up after 0 s: it has said nothing"):
        node.start_daemons()


def test_hdfs_is_made_once_after_a_reset(node, monkeypatch):
    node.name = "primary"
    name = replace(daemons.NAMENODE, main="Daemon", up=lambda _: True)
    monkeypatch.setattr(daemons, "NAMENODE", name)
    monkeypatch.setattr(daemons, "of", lambda _: (name,))
    node.reset("j-1", [])
    for _ in range(2):
        node.start_daemons()
        node.stop_daemons()
    assert (node.logs / "formats").read_text() == "formatted\n"
    node.reset("j-2", [])
    node.start_daemons()
    assert (node.logs / "formats").read_text() == "formatted\n"


def test_which_daemons_run_where():
    assert {daemon.name for daemon in daemons.of("primary")} == {"namenode", "resourcemanager"}
    assert {daemon.name for daemon in daemons.of("core-2")} == {"datanode", "nodemanager"}


# -- metadata


@pytest.fixture
def service(node):
    """The metadata service's port."""
    serving = metadata.server(lambda: controller.key(node.credentials), port=0)
    threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
    yield serving.server_port
    serving.shutdown()
    serving.server_close()


def test_awss_own_client_finds_the_nodes_key_by_the_metadata_service(service, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{service}")
    found = Session().get_credentials()
    assert (found.access_key, found.secret_key) == tuple(KEY.values())
    assert not found.token


def test_the_metadata_service_is_version_2_alone(service):
    for headers in ({}, {"X-Aws-Ec2-Metadata-Token": "guessed"}):
        assert http(service, "/latest/meta-data/iam/security-credentials/", headers=headers) == (401, b"")


# -- the commands of a node


@pytest.mark.parametrize("flags", [["-n"], ["-u", "root", "-E"], ["--user", "root"], ["-u", "root", "A=b"], []])
def test_sudo_runs_the_command_as_whoever_asks(flags):
    ran = subprocess.run(
        [COMMANDS / "sudo", *flags, "sh", "-c", 'echo "$(id -u) $1"', "sh", "-n x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{os.getuid()} -n x\n"


def test_a_command_that_nodes_have_not_is_named_with_those_that_they_have(tmp_path):
    (tmp_path / "yarn").symlink_to(COMMANDS / "hadoop")
    ran = subprocess.run([tmp_path / "yarn", "rmadmin"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: yarn rmadmin: the lab's nodes have hadoop fs, hdfs dfs")
