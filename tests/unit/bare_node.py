"""A node's instance controller over HTTP, with real processes; shell scripts stand in for Java and its daemons."""

import json
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from base import sizing
from emr_lab.node import processes
from emr_lab.node import server as node_server
from emr_lab.node.controller import InstanceController
from emr_lab.protocol import api

S3A = Path(__file__).parents[2] / "launch" / "s3a.conf"
KEY = {"AWS_ACCESS_KEY_ID": "job-key", "AWS_SECRET_ACCESS_KEY": "job-secret-not-to-be-seen"}
# What these programs print, cut to the lines that count.
PROGRAMS = {
    "spark-submit": "echo 'Welcome to Spark version 4.1.1' >&2; echo 'Using Scala version 2.13.17, OpenJDK' >&2",
    "java": """case "$*" in
*-format*) mkdir "$DATA/namenode"; echo formatted >>"$DATA/var/log/formats" ;;
*-version) echo 'openjdk version "17.0.21" 2026-10-20' >&2 ;;
*VersionInfo) echo 'Hadoop 3.4.2' ;;
*Broken) echo 'INFO starting' >&2; echo 'FATAL: no port is free' >&2; echo >&2; exit 3 ;;
*Daemon) echo "$@" >"$DATA/started"; echo $$ >>"$DATA/pids"; exec sleep 600 ;;
esac""",
}


@contextmanager
def bare_node(root, monkeypatch):
    """A core node whose big waits are short; what it started is ended."""
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=8, memory_mb=64 * 1024))
    data, shared, programs = root / "mnt", root / "tmp", root / "bin"
    data.mkdir()
    shared.mkdir()
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\nDATA={data}\n{body}\n")
        (programs / name).chmod(0o755)
    (root / "env").write_text("".join(f"{name}={value}\n" for name, value in KEY.items()))
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NODE": "core-1",
        "INSTANCE_TYPE": "m5.xlarge",
        "AWS_REGION": "eu-west-3",
        "AWS_ENDPOINT_URL_S3": "http://minio:9000",
    }
    made = InstanceController(
        name="core-1", data=data, shared=[shared], s3a=S3A, environment=environment, credentials=root / "env"
    )
    yield made
    made.reset(None, [])


@contextmanager
def asked(node):
    """Ask the node's controller as the endpoint does."""
    serving = node_server.server(node, address="127.0.0.1", port=0)
    threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
    yield Client(serving.server_port, api.token(node.credentials))
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


def stray():
    """A program that leaves one behind, in a session of its own, without its environment and its parent; its pid."""
    return ("sh", "-c", "env -i setsid sh -c 'echo $$; exec sleep 600' &")


def pid_in(client, process):
    text = wait_for(lambda: client.read(f"/processes/{process}/stdout").decode(), lambda said: said.endswith("\n"))
    return int(text.split()[-1])
