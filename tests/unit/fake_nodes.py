"""The EMR lab in this process: its server, its instance controllers without Hadoop, S3 as a folder, a clock to turn.

Processes are real; `aws s3 cp` is a script that copies out of the folder, `spark-submit` one that tells what it got.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

from base import releases, sizing
from base.paths import ROOT
from emr_lab.endpoint import server, session_requests, tokens
from emr_lab.endpoint.nodes import NodeClient, YarnClient
from emr_lab.endpoint.records import ClusterStore
from emr_lab.endpoint.state import EndpointState
from emr_lab.endpoint.validation import Capabilities
from emr_lab.node import server as node_server
from emr_lab.node.controller import InstanceController
from emr_lab.protocol import api
from tests.unit.fake_yarn import FakeYarn, resource_manager

REGION = "eu-west-3"
S3A = ROOT / "launch" / "s3a.conf"
LABEL = "emr-spark-8.1.0"
PROGRAMS = {
    "aws": 'cp "$FAKE_S3/${4#s3://}" "$5" || { echo "fatal error: An error occurred (404): $4" >&2; exit 1; }',
    # It waits as long as there is a file `hold` beside the buckets.
    "spark-submit": 'while [ -e "$FAKE_S3/hold" ]; do sleep 0.02; done\n'
    'echo "opts $SPARK_SUBMIT_OPTS step $EMR_STEP_ID args $*"',
}


MASTER = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
CORE = {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2}


def groups(*given: dict[str, Any]) -> dict[str, Any]:
    return {"Instances": {"InstanceGroups": list(given)}}


class FakeNode(InstanceController):
    """A node whose daemons are two words, and which has the versions of the release.

    Attributes:
        yarn: what the fake ResourceManager knows.
        data: whether HDFS keeps blocks on it.
        hdfs: on the primary, what the NameNode says of each DataNode.
        told: on the primary, which nodes YARN and HDFS are to do without, one after the other.
        off: how often it was switched off.
    """

    said: dict[str, str]
    yarn: FakeYarn

    has_data: bool | None = None
    hdfs: dict[str, str]
    told: list[dict[str, int]]
    off: int = 0

    def datanodes(self) -> dict[str, str]:
        return self.hdfs

    def start_daemons(self, *, data: bool) -> None:
        self.has_data = data
        if self.name != "primary" or self.alone:
            self.yarn.nodes[self.name] = {"state": "RUNNING", "numContainers": 0}
        log = self.logs / "hadoop-yarn" / f"hadoop-yarn-{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("started\n")

    def stop_daemons(self) -> None:
        self.yarn.nodes.pop(self.name, None)

    def power_off(self) -> None:
        super().power_off()
        self.off += 1

    def decommission(self, timeouts_s: Any) -> None:
        self.told.append(timeouts_s)
        for name, node in list(self.yarn.nodes.items()):
            node["state"] = "DECOMMISSIONING" if name in timeouts_s else "RUNNING"
            if timeouts_s.get(name) == 0:
                del self.yarn.nodes[name]

    def versions(self) -> dict[str, str]:
        return self.said


class FolderS3:
    """What the endpoint needs of an S3 client, on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:  # noqa: N803 - boto3's
        path = self.folder / Bucket / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)


@dataclass
class Clock:
    """Seconds since 1970, which a test may let pass."""

    passed_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed_s


@dataclass
class Fake:
    """The lab: its client, its parts."""

    root: Path
    url: str
    clock: Clock
    client: Any
    controllers: dict[str, FakeNode]
    servers: dict[str, ThreadingHTTPServer]
    yarn: FakeYarn
    make: Callable[[], EndpointState]
    endpoint_state: EndpointState
    endpoint: Any = None

    @property
    def applications(self) -> dict[str, str]:
        return self.yarn.applications

    @property
    def details(self) -> dict[str, dict[str, Any]]:
        return self.yarn.details

    @property
    def killed(self) -> list[str]:
        return self.yarn.killed

    def put(self, key: str, text: str) -> str:
        """An object in S3; its URI."""
        path = self.root / "s3" / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return f"s3://bucket/{key}"

    def log(self, name: str) -> str | None:
        """The text of a log below the cluster's LogUri, or None."""
        path = self.root / "s3" / "bucket" / "logs" / f"{name}.gz"
        return gzip.decompress(path.read_bytes()).decode() if path.exists() else None

    def start(self, *steps: dict[str, Any], **changes: Any) -> str:
        """RunJobFlow; the cluster's id."""
        return str(self.client.run_job_flow(**request(*steps, **changes))["JobFlowId"])

    def state(self, cluster: str) -> str:
        return str(self.client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])

    def reason(self, cluster: str) -> dict[str, str]:
        return dict(self.client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["StateChangeReason"])

    def steps(self, cluster: str) -> dict[str, str]:
        """States of the steps by their names, oldest first."""
        pages = self.client.get_paginator("list_steps").paginate(ClusterId=cluster)
        found = [step for page in pages for step in page["Steps"]]
        return {step["Name"]: step["Status"]["State"] for step in reversed(found)}

    def step(self, cluster: str, name: str) -> dict[str, Any]:
        listed = self.client.list_steps(ClusterId=cluster)["Steps"]
        found = next(step["Id"] for step in listed if step["Name"] == name)
        return dict(self.client.describe_step(ClusterId=cluster, StepId=found)["Step"])

    def wait(self, cluster: str, *states: str) -> None:
        """Until the cluster is in one of the states."""
        wait_until(lambda: self.state(cluster) in states, lambda: f"{self.state(cluster)}: {self.reason(cluster)}")

    def wait_step(self, cluster: str, name: str, *states: str) -> None:
        """Until the step is in one of the states."""
        wait_until(lambda: self.steps(cluster)[name] in states, lambda: str(self.steps(cluster)))

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Stop the endpoint and start it anew with what it has in its file; at another port, as its own may go."""
        self.stop()
        meanwhile()
        self.endpoint_state = self.make()
        self.serve()

    def serve(self) -> None:
        """Start the endpoint and a client of it."""
        self.endpoint = server.serve(self.endpoint_state, address="127.0.0.1", port=0)
        threading.Thread(target=self.endpoint.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.endpoint.port}"
        self.client = boto3.client("emr", region_name=REGION, endpoint_url=self.url)

    def stop(self) -> None:
        self.endpoint.shutdown()
        self.endpoint.server_close()
        self.endpoint_state.close()
        for thread in threading.enumerate():
            if thread.name.startswith("j-"):
                thread.join(30)


def request(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A RunJobFlow that the lab takes; `changes` replace its members, `keep` and `protected` are set in Instances."""
    instances = {
        "InstanceGroups": [
            {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
            {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2},
        ],
        "KeepJobFlowAliveWhenNoSteps": changes.pop("keep", False),
        "TerminationProtected": changes.pop("protected", False),
    }
    wanted = {
        "Name": "test",
        "ReleaseLabel": LABEL,
        "Applications": [{"Name": "Spark"}],
        "LogUri": "s3://bucket/logs/",
        "ServiceRole": "service",
        "JobFlowRole": "node",
        "Instances": instances,
        "Steps": list(steps),
    }
    return {name: value for name, value in {**wanted, **changes}.items() if value is not None}


def step(name: str, script: str, action: str = "CONTINUE") -> dict[str, Any]:
    """A step that runs a line of shell."""
    run = {"Jar": "command-runner.jar", "Args": ["bash", "-c", script]}
    return {"Name": name, "ActionOnFailure": action, "HadoopJarStep": run}


def action(name: str, path: str, *args: str) -> dict[str, Any]:
    """A bootstrap action."""
    return {"Name": name, "ScriptBootstrapAction": {"Path": path, "Args": list(args)}}


def wait_until(is_so: Callable[[], bool], found: Callable[[], str], timeout_s: float = 30) -> None:
    """Return when it is so; fail with what was found after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, found()
        time.sleep(0.02)


@contextmanager
def fake_lab(root: Path, monkeypatch: Any) -> Iterator[Fake]:
    """The lab, below the folder `root`, for one test."""
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=16, memory_mb=65536))
    monkeypatch.setattr("emr_lab.endpoint.lifecycle.NODE_INTERVAL_S", 0.05)
    monkeypatch.setattr("emr_lab.endpoint.steps.LOG_INTERVAL_S", 0.05)
    for name in ("INTERVAL_S", "LOG_INTERVAL_S"):
        monkeypatch.setattr(f"emr_lab.endpoint.sessions.{name}", 0.05)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    (root / "bin").mkdir()
    for name, script in PROGRAMS.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (root / "bin" / name).chmod(0o755)
    (root / "key").write_text("AWS_ACCESS_KEY_ID=job\nAWS_SECRET_ACCESS_KEY=secret\n")

    yarn = FakeYarn()
    controllers = {name: _node(root, name, yarn) for name in ("primary", "core-1", "core-2")}
    servers: dict[str, ThreadingHTTPServer] = {
        name: node_server.server(node, address="127.0.0.1", port=0) for name, node in controllers.items()
    }
    servers["yarn"] = resource_manager(yarn)
    for each in servers.values():
        threading.Thread(target=each.serve_forever, args=(0.01,), daemon=True).start()
    clock, token = Clock(), api.token(root / "key")
    nodes = {name: NodeClient(name, _url(servers[name]), token) for name in controllers}

    def make() -> EndpointState:
        made = EndpointState(
            capabilities=Capabilities(
                release=releases.find(LABEL), instance_type="m5.xlarge", cores=("core-1", "core-2")
            ),
            nodes=nodes,
            yarn=YarnClient(_url(servers["yarn"]), token),
            s3=FolderS3(root / "s3"),
            store=ClusterStore(root / "state.json"),
            keys={"test": "test"},
            token_key=tokens.key("secret"),
            sessions_url="https://127.0.0.1:5443",
            certificate=root / "ca.pem",
            clock=clock,
            tick_s=0.02,
        )
        made.store.load(now_s=clock())
        return made

    fake = Fake(
        root=root,
        url="",
        clock=clock,
        client=None,
        controllers=controllers,
        servers=servers,
        yarn=yarn,
        make=make,
        endpoint_state=make(),
    )
    fake.serve()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", fake.url)
    yield fake
    fake.stop()
    for name, each in servers.items():
        each.shutdown()
        each.server_close()
        if name in controllers:
            controllers[name].reset(None, [])


@contextmanager
def serve_sessions(fake: Fake, monkeypatch: Any, **details: Any) -> Iterator[None]:
    """Let YARN have the server of each session of the lab, with these `details` of its application."""
    hold, done = fake.root / "s3" / "hold", threading.Event()
    hold.parent.mkdir(exist_ok=True)
    hold.touch()

    def give() -> None:
        while not done.wait(0.02):
            clusters = list(fake.endpoint_state.store.clusters.values())
            for session in [session for cluster in clusters for session in list(cluster.sessions)]:
                if session.id.lower() not in known:
                    known.add(session.id.lower())
                    name = f"application_1_{len(known):04}"
                    fake.details[name] = {"state": "RUNNING", "amHostHttpAddress": "127.0.0.1:8042", **details}
                    fake.applications[name] = session.id.lower()

    known = set[str]()
    giving = threading.Thread(target=give, daemon=True)
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        monkeypatch.setattr(session_requests, "PORTS", [each.getsockname()[1] for each in listening])
        giving.start()
        try:
            yield
        finally:
            done.set()
            giving.join(30)
            hold.unlink()


def _node(root: Path, name: str, yarn: FakeYarn) -> FakeNode:
    data = root / "nodes" / name
    data.mkdir(parents=True)
    environment = {
        "PATH": f"{root / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "FAKE_S3": str(root / "s3"),
        "NODE_NAME": name,
        "INSTANCE_TYPE": "m5.xlarge",
        "AWS_ENDPOINT_URL_S3": "http://s3.test",
        "AWS_REGION": REGION,
    }
    node = FakeNode(name=name, data=data, shared=[], s3a=S3A, environment=environment, credentials=root / "key")
    node.yarn, node.hdfs, node.told = yarn, {}, []
    node.said = {"spark": "4.1.1", "hadoop": "3.4.2", "scala": "2.13.17", "python": "3.11.2", "java": "17.0.17"}
    return node


def _url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"
