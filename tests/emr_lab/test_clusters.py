"""The EMR lab with real YARN and HDFS, by plain boto3: one cluster whose steps many tests look at, and short ones."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from base import releases
from tests.emr_lab.conftest import BUCKET, LABEL, EmrLab, compose, spark_step, step, wait_for
from tests.unit.fake_nodes import wait_until

HERE = Path(__file__).parent
TEXT = b"apple kiwi apple\npear apple kiwi\n"
COUNTS = {"apple": 3, "kiwi": 2, "pear": 1}
MARK = "/opt/mark"
# In a session of its own, without its parent and its environment; nothing else on the nodes has this number.
STRAY_S = 86399
LEAVES = (
    f"touch /tmp/left /dev/shm/left; env -i setsid sleep {STRAY_S} & env -i setsid sh -c 'setsid sleep {STRAY_S} &'"
)


@pytest.fixture(scope="module")
def scripts(emr_lab: EmrLab) -> dict[str, str]:
    """URIs of what the jobs need."""
    emr_lab.put("images/text.txt", TEXT)
    names = ("word_count.py", "tell.py", "hog.py")
    return {name: emr_lab.put(f"artifacts/{name}", (HERE / name).read_bytes()) for name in names}


@pytest.fixture(scope="module")
def cluster(emr_lab: EmrLab, scripts) -> Iterator[str]:
    """A cluster that stays, with a bootstrap action, Configurations and steps of every end; they are done."""
    mark = emr_lab.put("artifacts/mark.sh", f'#!/bin/bash\n[ ! -e {MARK} ] && echo "$1" > {MARK}\n'.encode())
    counting = (scripts["word_count.py"], f"s3://{BUCKET}/images/text.txt")
    cluster = emr_lab.start(
        spark_step("client", *counting, f"s3://{BUCKET}/results/client", mode="client"),
        spark_step("cluster", *counting, f"s3://{BUCKET}/results/cluster", mode="cluster"),
        spark_step("tell", scripts["tell.py"], MARK),
        spark_step("denied", *counting, f"s3://{BUCKET}/images/not-allowed"),
        spark_step("too big", *counting, f"s3://{BUCKET}/results/big", memory="100g"),
        spark_step("hog", scripts["hog.py"], "3", once=True),
        step("hdfs", "bash", "-c", "echo hello | hadoop fs -put - /tmp-hello && hadoop fs -cat /tmp-hello"),
        step("leaves", "bash", "-c", LEAVES),
        keep=True,
        BootstrapActions=[{"Name": "mark", "ScriptBootstrapAction": {"Path": mark, "Args": ["a fruit"]}}],
        Configurations=[
            {"Classification": "spark-defaults", "Properties": {"spark.sql.shuffle.partitions": "3"}},
            {
                "Classification": "spark-env",
                "Configurations": [{"Classification": "export", "Properties": {"FRUIT": "kiwi"}}],
            },
        ],
    )
    last = emr_lab.wait_step(cluster, "leaves", "COMPLETED", "FAILED", "CANCELLED")
    assert last["Status"]["State"] != "CANCELLED", emr_lab.everything(cluster)
    yield cluster
    emr_lab.emr.terminate_job_flows(JobFlowIds=[cluster])
    emr_lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_word_count(emr_lab: EmrLab, cluster, mode):
    found = emr_lab.step(cluster, mode)
    assert found["Status"]["State"] == "COMPLETED", emr_lab.log(f"{cluster}/steps/{found['Id']}/stderr")[-3000:]
    parts = [name for name in emr_lab.names(f"results/{mode}/") if name.endswith(".parquet")]
    rows = [row for name in parts for row in pq.read_table(io.BytesIO(emr_lab.get(name))).to_pylist()]
    assert {row["word"]: row["count"] for row in rows} == COUNTS


def test_the_driver_speaks_where_it_runs(emr_lab: EmrLab, cluster):
    client, in_cluster = (emr_lab.step(cluster, mode)["Id"] for mode in ("client", "cluster"))
    assert emr_lab.log(f"{cluster}/steps/{client}/stdout") == "6 words counted\n"
    assert emr_lab.log(f"{cluster}/steps/{in_cluster}/stdout") == ""
    containers = [name for name in emr_lab.names(f"emrlab-logs/{cluster}/containers/") if name.endswith("/stdout.gz")]
    said = [emr_lab.log(name.removeprefix("emrlab-logs/").removesuffix(".gz")) for name in containers]
    assert said.count("6 words counted\n") == 1


def test_bootstrap_action_and_configurations_reach_every_node(emr_lab: EmrLab, cluster):
    told = emr_lab.step(cluster, "tell")
    assert told["Status"]["State"] == "COMPLETED", emr_lab.log(f"{cluster}/steps/{told['Id']}/stderr")[-3000:]
    found = json.loads(emr_lab.log(f"{cluster}/steps/{told['Id']}/stdout"))
    assert found == {
        "shuffle": "3",
        "variable": "kiwi",
        "driver": "primary",
        "nodes": [["core-1", "a fruit"], ["core-2", "a fruit"]],
        "version": releases.find(LABEL).spark,
    }


def test_a_job_has_the_rights_of_the_job_user_only(emr_lab: EmrLab, cluster):
    denied = emr_lab.step(cluster, "denied")
    assert denied["Status"]["State"] == "FAILED"
    # Spark gives a Python driver's traceback out as stdout.
    assert denied["Status"]["FailureDetails"]["LogFile"].endswith(f"/steps/{denied['Id']}/stdout.gz")
    assert "Access Denied" in denied["Status"]["FailureDetails"]["Message"]
    said = emr_lab.log(f"{cluster}/steps/{denied['Id']}/stdout")
    assert "java.nio.file.AccessDeniedException: " in said
    assert "images/not-allowed" in said
    assert emr_lab.names("images/not-allowed") == []


def test_an_executor_that_does_not_fit_is_refused_by_yarn(emr_lab: EmrLab, cluster):
    failed = emr_lab.step(cluster, "too big")
    assert failed["Status"]["State"] == "FAILED"
    assert "above the max threshold" in failed["Status"]["FailureDetails"]["Message"]


def test_a_container_over_its_memory_is_killed_by_yarn(emr_lab: EmrLab, cluster):
    failed = emr_lab.step(cluster, "hog")
    assert failed["Status"]["State"] == "FAILED"
    said = emr_lab.log(f"{cluster}/steps/{failed['Id']}/stdout")
    assert "Container killed by YARN for exceeding physical memory limits" in said
    assert "memory" in failed["Status"]["FailureDetails"]["Message"]


def test_hdfs(emr_lab: EmrLab, cluster):
    name = emr_lab.step(cluster, "hdfs")["Id"]
    assert emr_lab.log(f"{cluster}/steps/{name}/stdout") == "hello\n"


def test_cancelled_step_leaves_nothing_in_yarn(emr_lab: EmrLab, cluster, scripts):
    sleeping = emr_lab.put("artifacts/sleep.py", b"import time\ntime.sleep(900)\n")
    emr_lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[spark_step("sleeps", sleeping, mode="cluster")])
    emr_lab.wait_step(cluster, "sleeps", "RUNNING")
    listing = ("exec", "-T", "primary", "yarn", "application", "-list")
    wait_until(lambda: "application_" in compose(*listing, check=False), lambda: "no application", timeout_s=240)
    name = emr_lab.step(cluster, "sleeps")["Id"]
    emr_lab.emr.cancel_steps(ClusterId=cluster, StepIds=[name])
    found = emr_lab.wait_step(cluster, "sleeps", "CANCELLED", "FAILED", "COMPLETED")
    assert found["Status"]["State"] == "CANCELLED"
    assert "application_" not in compose(*listing)


def left_on_the_primary() -> tuple[int, str]:
    """How many processes of LEAVES run there, and its files."""
    look = "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$each; echo; done 2>/dev/null"
    running = compose("exec", "-T", "primary", "sh", "-c", look, check=False).splitlines()
    files = compose("exec", "-T", "primary", "sh", "-c", "ls /tmp/left /dev/shm/left 2>/dev/null", check=False)
    return running.count(f"sleep {STRAY_S} "), files


def test_cancelled_step_takes_along_what_it_left_behind(emr_lab: EmrLab, cluster):
    before, _ = left_on_the_primary()
    assert before == 2  # of the step that came to its end, as on EMR
    emr_lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step("flees", "bash", "-c", f"{LEAVES}; sleep 900")])
    emr_lab.wait_step(cluster, "flees", "RUNNING")
    wait_for(lambda: {"left": left_on_the_primary()[0]}, lambda found: found["left"] == before + 2)
    name = emr_lab.step(cluster, "flees")["Id"]
    emr_lab.emr.cancel_steps(ClusterId=cluster, StepIds=[name])
    emr_lab.wait_step(cluster, "flees", "CANCELLED")
    assert left_on_the_primary()[0] == before


def test_restart_of_the_endpoint_leaves_the_step_alone(emr_lab: EmrLab, cluster):
    long = step("long", "bash", "-c", "echo begun; until [ -e ~/go ]; do sleep 0.2; done; echo done")
    emr_lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[long])
    emr_lab.wait_step(cluster, "long", "RUNNING")
    compose("restart", "emr")
    compose("up", "--detach", "--wait", "--no-recreate", "emr")
    assert emr_lab.step(cluster, "long")["Status"]["State"] == "RUNNING"
    compose("exec", "-T", "primary", "touch", "/home/hadoop/go")
    found = emr_lab.wait_step(cluster, "long", "COMPLETED", "FAILED")
    assert found["Status"]["State"] == "COMPLETED"
    assert emr_lab.log(f"{cluster}/steps/{found['Id']}/stdout") == "begun\ndone\n"


def test_nodes_have_no_way_out(emr_lab: EmrLab, cluster):
    ask = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=5)"
    emr_lab.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step("out", "python3", "-c", ask)])
    assert emr_lab.wait_step(cluster, "out", "COMPLETED", "FAILED")["Status"]["State"] == "FAILED"


def addresses(service: str) -> dict[str, str]:
    """A node's, on each of its networks: cluster, host."""
    (found,) = json.loads(said("docker", "inspect", compose("ps", "--quiet", service).strip()).stdout)
    networks = found["NetworkSettings"]["Networks"]
    return {name.rpartition("_")[2]: network["IPAddress"] for name, network in networks.items()}


def said(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def outside(*command: str) -> subprocess.CompletedProcess[str]:
    """A command where every process of this machine is, by a user of the name that the nodes' own has."""
    place = ["docker", "run", "--rm", "--network", "host", "--user", "1000", "--entrypoint", command[0]]
    return said(*place, f"emrlab/emr-node:{os.environ.get('RELEASE') or 'default'}", *command[1:])


def status(address: str, method: str, path: str) -> int:
    connection = HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, "{}" if method != "GET" else None, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_yarns_pages_are_looked_at_and_start_and_end_nothing(emr_lab: EmrLab, cluster):
    page = compose("port", "primary", "8090").strip()
    assert status(page, "GET", "/cluster/apps") == status(page, "GET", "/ws/v1/cluster/apps") == 200
    asked = [("POST", "apps/new-application"), ("POST", "apps"), ("PUT", "apps/application_1_0001/state")]
    for address in (page, *(f"{address}:8090" for address in addresses("primary").values())):
        assert [status(address, method, f"/ws/v1/cluster/{path}") for method, path in asked] == [403] * 3


@pytest.mark.parametrize(
    ("client", "arguments"),
    [
        ("org.apache.hadoop.fs.FsShell", ["-ls", "hdfs://{}:8020/"]),
        (
            "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
            ["application", "-Dyarn.resourcemanager.address={}:8032", "-list"],
        ),
    ],
    ids=["hdfs", "yarn"],
)
def test_yarn_and_hdfs_answer_the_nodes_alone(emr_lab: EmrLab, cluster, client, arguments):
    # FsShell wants the file to be there.
    start = 'echo "<configuration/>" >/tmp/core-site.xml; exec java -cp "/tmp:/usr/lib/spark/jars/*" "$@"'
    command = ("sh", "-c", start, "sh", client)
    ran = outside(*command, *(each.format(addresses("primary")["cluster"]) for each in arguments))
    assert ran.returncode != 0
    assert "is not authorized for protocol" in ran.stderr, ran.stderr
    # From a node the same is answered.
    asked = compose("exec", "-T", "primary", *command, *(each.format("emr-primary") for each in arguments))
    assert "tmp-hello" in asked or "Total number of applications" in asked


@pytest.mark.parametrize(
    ("node", "network", "port"),
    [
        ("primary", "cluster", 8088),
        ("primary", "cluster", 9870),
        ("primary", "host", 8032),
        ("primary", "host", 8020),
        ("core-1", "cluster", 8042),
        ("core-1", "cluster", 9864),
    ],
)
def test_daemons_listen_where_the_nodes_ask_them(emr_lab: EmrLab, cluster, node, network, port):
    ask = "import socket, sys; print(socket.socket().connect_ex((sys.argv[1], int(sys.argv[2]))))"
    here = "emr-primary" if network == "host" else "127.0.0.1"
    assert compose("exec", "-T", node, "python3", "-c", ask, here, str(port)).strip() == "0"
    address = addresses(node)[network]
    assert outside("python3", "-c", ask, address, str(port)).stdout.strip() == str(errno.ECONNREFUSED)


def test_failing_bootstrap_action_and_what_the_next_cluster_finds(emr_lab: EmrLab, cluster):
    assert left_on_the_primary() == (2, "/dev/shm/left\n/tmp/left\n")  # noqa: S108
    emr_lab.emr.terminate_job_flows(JobFlowIds=[cluster])
    script = f"#!/bin/bash\nls {MARK} 2>&1\nhostname | grep -q core-2 && {{ echo no room >&2; exit 3; }}\nexit 0\n"
    fails = emr_lab.put("artifacts/fails.sh", script.encode())
    failing = emr_lab.start(
        step("never", "true"), BootstrapActions=[{"Name": "fails", "ScriptBootstrapAction": {"Path": fails}}]
    )  # waits until the first one has left the nodes
    status = emr_lab.wait(failing, "TERMINATED_WITH_ERRORS", "TERMINATED")
    assert left_on_the_primary() == (0, "")
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    reason = status["StateChangeReason"]
    assert reason["Code"] == "BOOTSTRAP_FAILURE"
    instances = emr_lab.emr.list_instances(ClusterId=failing)["Instances"]
    ec2 = {each["PrivateDnsName"]: each["Ec2InstanceId"] for each in instances}
    assert ec2["core-2"] in reason["Message"]
    assert emr_lab.step(failing, "never")["Status"]["State"] == "CANCELLED"
    log = f"{failing}/node/{{}}/bootstrap-actions/1/{{}}"
    assert emr_lab.log(log.format(ec2["core-2"], "stderr")) == "no room\n"
    assert "No such file" in emr_lab.log(log.format(ec2["core-1"], "stdout"))  # the mark of the cluster before


def test_a_primary_alone_runs_containers_and_keeps_hdfs(emr_lab: EmrLab, scripts):
    counting = (scripts["word_count.py"], f"s3://{BUCKET}/images/text.txt")
    primary = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    cluster = emr_lab.start(
        spark_step("client", *counting, f"s3://{BUCKET}/results/alone-client", mode="client"),
        spark_step("cluster", *counting, f"s3://{BUCKET}/results/alone-cluster", mode="cluster"),
        spark_step("tell", scripts["tell.py"], "/etc/hostname"),
        step("hdfs", "bash", "-c", "echo hello | hadoop fs -put - /tmp-hello && hadoop fs -cat /tmp-hello"),
        Instances={"InstanceGroups": [primary], "KeepJobFlowAliveWhenNoSteps": False},
    )
    emr_lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")
    steps = {name: emr_lab.step(cluster, name) for name in ("client", "cluster", "tell", "hdfs")}
    states = {name: each["Status"]["State"] for name, each in steps.items()}
    assert states == dict.fromkeys(steps, "COMPLETED"), emr_lab.everything(cluster)
    told = json.loads(emr_lab.log(f"{cluster}/steps/{steps['tell']['Id']}/stdout"))
    assert (told["driver"], told["nodes"]) == ("primary", [["primary", "primary"]])
    assert emr_lab.log(f"{cluster}/steps/{steps['hdfs']['Id']}/stdout") == "hello\n"
