"""Calls that start something: sent once, whatever becomes of the answer."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import pytest

from launch.emr import aws, once, steps
from launch.emr.follow import Clients
from tests.emr.conftest import BUCKET, REGION
from tests.emr.machinery import ENDING, Machinery

INVALID = "Invalid InstanceProfile: emrlab-node."


class Network:
    """What lies before an EMR: `fault` has its way with each request; an answer of None is none, after a reset."""

    def __init__(self, behind: str) -> None:
        self.behind, self.calls = behind, list[str]()
        self.fault: Callable[[str, Callable[[], bytes]], bytes | None] = lambda _, forward: forward()
        self.over = threading.Event()
        network = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                network.calls.append(operation)
                answer = network.fault(operation, lambda: network.forward(self.headers, body))
                if answer is None:  # a reset: what is there is thrown away
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    self.connection.sendall(answer)
                self.close_connection = True

            def finish(self) -> None:
                self.connection.close()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def forward(self, headers: Message, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.behind).netloc, timeout=30)
        connection.request("POST", "/", body, dict(headers))
        found = connection.getresponse()
        return answer(found.read(), f"{found.status} {found.reason}")

    def silence(self) -> None:
        """Until the test is over."""
        self.over.wait(60)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def network(moto_server, monkeypatch):
    """Between every client of EMR and moto; nobody waits long."""
    made = Network(moto_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", made.address)
    for name, seconds in (("REFUSED_S", 0.3), ("LOOK_S", 0.3), ("STOPPED_LOOK_S", 0.3), ("PAUSE_S", 0.05)):
        monkeypatch.setattr(once, name, seconds)
    monkeypatch.setattr(aws, "ONCE_READ_S", 0.3)
    yield made
    made.over.set()
    made.server.shutdown()
    made.server.server_close()


def clusters():
    found = boto3.client("emr", region_name=REGION).list_clusters()["Clusters"]
    return {cluster["Id"]: cluster["Status"]["State"] for cluster in found}


def refusal(message, code="ValidationException", status="400 Bad Request"):
    return answer(f'{{"__type": "{code}", "message": "{message}"}}'.encode(), status)


def test_a_silent_server_is_asked_once_and_nothing_is_said_to_run(ready, network, launch, run_args):
    network.fault = lambda call, forward: network.silence() if call == "RunJobFlow" else forward()
    code, out, error = launch(*run_args)
    assert code == 1
    assert network.calls.count("RunJobFlow") == 1
    assert (
        "the answer to RunJobFlow was lost (ReadTimeoutError); looking for the cluster that has the tag emrlab-run="
        in out
    )
    last = error.splitlines()[-1]
    assert last.startswith("error: the answer to RunJobFlow was lost, and no cluster has the tag emrlab-run=")
    assert last.endswith(": nothing was started; run again")
    assert clusters() == {}


@pytest.mark.parametrize("how", ["reset", "in part", "500", "gateway"])
def test_a_cluster_whose_answer_was_lost_is_found_and_followed(ready, network, launch, run_args, how):
    answers = {
        "reset": None,
        "in part": answer(b"{}"),
        "500": refusal("we failed", "InternalServerError", "500 Internal Server Error"),
        "gateway": answer(b"<html>", "503 Service Unavailable"),
    }

    def fault(call, forward):
        done = forward()
        return answers[how] if call == "RunJobFlow" else done

    network.fault = fault
    with Machinery():
        code, out, _ = launch(*run_args)
    assert code == 0
    assert network.calls.count("RunJobFlow") == 1
    (name,) = clusters()
    assert f"the answer was lost; cluster {name} found by its mark" in out
    assert ENDING in out


def test_another_runs_cluster_is_not_taken_for_ones_own(ready, network, launch, run_args):
    tags = [{"Key": "emrlab", "Value": "true"}, {"Key": "emrlab-run", "Value": "another"}]
    emr = boto3.client("emr", region_name=REGION)
    kept = {"KeepJobFlowAliveWhenNoSteps": True}
    theirs = emr.run_job_flow(Name="emrlab", Instances=kept, JobFlowRole="x", ServiceRole="y", Tags=tags)["JobFlowId"]
    network.fault = lambda call, forward: None if call == "RunJobFlow" else forward()
    code, _, error = launch(*run_args)
    assert code == 1
    assert "nothing was started" in error
    assert network.calls.count("DescribeCluster") == 1
    assert clusters()[theirs] != "TERMINATED"


def test_what_cannot_be_seen_is_not_said_to_be_nothing(ready, network, launch, run_args):
    denied = refusal("not authorized", "AccessDeniedException")
    faults = {"RunJobFlow": None, "ListClusters": denied}
    network.fault = lambda call, forward: faults[call] if call in faults else forward()
    code, _, error = launch(*run_args)
    assert code == 1
    assert "whether it has started a cluster cannot be seen: access denied" in error


def test_a_step_whose_answer_was_lost_is_found_by_its_name(ready, network, launch, run_args):
    with Machinery() as amazon:
        assert launch(*run_args, "--keep")[0] == 0
        (name,) = clusters()

        def fault(call, forward):
            done = forward()
            return None if call == "AddJobFlowSteps" else done

        network.fault = fault
        code, out, _ = launch(*run_args, "--cluster", name)
    assert code == 0
    assert network.calls.count("AddJobFlowSteps") == 1
    assert len(amazon.asked) == 2
    assert "the answer to AddJobFlowSteps was lost" in out
    assert ENDING in out


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (refusal(INVALID), "a role that was just made is not known everywhere yet"),
        (refusal("Rate exceeded", "ThrottlingException"), "AWS asks to slow down"),
        (refusal("busy", "ServiceUnavailable", "503 Service Unavailable"), "AWS asks to slow down"),
    ],
)
def test_what_was_surely_not_done_is_tried_again(ready, network, launch, run_args, refused, words):
    network.fault = lambda call, forward: (
        refused if call == "RunJobFlow" and network.calls.count("RunJobFlow") <= 2 else forward()
    )
    with Machinery():
        code, out, _ = launch(*run_args)
    assert code == 0
    assert network.calls.count("RunJobFlow") == 3
    assert out.count(words) == 1
    assert len(clusters()) == 1


def test_a_role_that_never_comes_is_said_after_a_minute(ready, network, launch, run_args):
    network.fault = lambda call, forward: refusal(INVALID) if call == "RunJobFlow" else forward()
    code, _, error = launch(*run_args)
    assert code == 1
    assert "a role of the cluster is missing; run make emr-setup" in error.splitlines()[-1]
    assert network.calls.count("RunJobFlow") > 1


def test_what_ctrl_c_left_on_its_way_is_ended(ready, network, keys):
    emr = aws.client("emr", REGION)
    clients, shown = Clients(emr=emr, s3=None), list[str]()

    class Sender:
        def run_job_flow(self, **asked):
            emr.run_job_flow(**asked)
            raise KeyboardInterrupt

    asked = {
        "Name": "emrlab",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": True},
        "JobFlowRole": "x",
        "ServiceRole": "y",
        "Tags": [{"Key": "emrlab", "Value": "true"}],
    }
    with pytest.raises(KeyboardInterrupt):
        once.run_job_flow(clients, Sender(), asked, show=shown.append)
    assert list(clusters().values()) == ["TERMINATED"]
    assert shown[-1].endswith("is ended")


def test_what_ctrl_c_left_on_its_way_and_is_not_there_yet_is_told():
    class Emr:
        def get_paginator(self, _):
            return self

        def paginate(self, **_):
            return [{"Clusters": []}]

        def run_job_flow(self, **_):
            raise KeyboardInterrupt

    now, shown = [0.0], list[str]()
    clients = Clients(emr=Emr(), s3=None, clock=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    with pytest.raises(KeyboardInterrupt):
        once.run_job_flow(clients, Emr(), {"Tags": []}, show=shown.append)
    assert shown[-1].startswith("no cluster is to be seen; make emr-status shows one that comes late")


def test_a_cluster_that_lists_no_step_is_ended_with_one_line(ready, network, launch, run_args, monkeypatch):
    monkeypatch.setattr(steps, "LISTED_S", 0.2)
    monkeypatch.setattr(steps, "LISTED_PAUSE_S", 0.05)
    network.fault = lambda call, forward: answer(b'{"Steps": []}') if call == "ListSteps" else forward()
    code, _, error = launch(*run_args)
    (name, state), *_ = clusters().items()
    assert code == 1
    assert (
        error.splitlines()[-1]
        == f"error: EMR has started cluster {name} and lists no step of it; it is ended, run again"
    )
    assert state == "TERMINATED"
    assert network.calls.count("ListSteps") > 1


def test_a_step_that_is_listed_late_is_waited_for(ready, network, launch, run_args, monkeypatch):
    monkeypatch.setattr(steps, "LISTED_PAUSE_S", 0.05)
    late = answer(b'{"Steps": []}')
    network.fault = lambda call, forward: (
        late if call == "ListSteps" and network.calls.count("ListSteps") <= 2 else forward()
    )
    with Machinery():
        code, out, _ = launch(*run_args)
    assert (code, ENDING in out) == (0, True)


def test_a_key_is_made_once(amazon, network, launch, monkeypatch):
    """KMS takes no token either, and a key costs $1 a month."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", network.address)
    network.fault = lambda call, forward: network.silence() if call == "CreateKey" else forward()
    code, _, error = launch("emr-setup", "--bucket", BUCKET, "--own-key")
    assert code == 1
    assert network.calls.count("CreateKey") == 1
    assert error.splitlines()[-1].startswith("error: the answer to CreateKey was lost; look ")
