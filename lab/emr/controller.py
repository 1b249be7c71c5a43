"""The instance controller of a node: does what the endpoint says, and nothing by itself. Beside it run
metadata.py and, on the primary, door.py.

`python3 -m lab.emr.controller` in a node's container; HTTP and JSON on port 8321. Whoever asks shows the token in the
header X-Token; `GET /` alone wants none.

    GET  /                            node, cluster, how many processes run
    POST /reset                       {cluster, configurations}: end all, wipe the node, write its configuration
    POST /daemons                     {action: start | stop}: YARN's and HDFS's; the answer comes when they are up
    POST /processes                   {argv, env, cwd, stdout, stderr} -> {id}; the two are names below /var/log
    GET  /processes/ID                exit, pid, stdout_bytes, stderr_bytes
    GET  /processes/ID/stdout, stderr the bytes from ?offset=N on
    POST /processes/ID/kill           TERM for the process and whatever came of it, KILL after ten seconds
    GET  /logs, /logs/NAME            the files below /var/log with their sizes; the bytes of one from ?offset=N on
    GET  /versions                    spark, hadoop, scala, python, java, asked of the programs themselves

An error is {"error": one line} with a status of 400 and above.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from lab import sizing
from lab.emr import configuration, daemons, door, keeper, metadata, processes, versions, wiping
from lab.emr.daemons import Daemon
from lab.emr.processes import Process

PORT = 8321
CREDENTIALS = Path("/run/credentials/env")
S3A = Path("/usr/lib/emrlab/s3a.conf")
HADOOP_HOME = Path("/usr/lib/hadoop")
# With /mnt all that can be written in a container: its root file system is read-only.
SHARED = (Path("/tmp"), Path("/dev/shm"), Path("/dev/mqueue"))  # noqa: S108
BODY_BYTES = 1024 * 1024
FORMAT_TIMEOUT_S = 60.0
# Of the container, for the controller itself: EMR gives processes no region.
_OWN = frozenset({"AWS_REGION", "INSTANCE_TYPE", "NODE"})


class RequestError(Exception):
    """What was asked cannot be done: the HTTP status, and one line with the cause."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(kw_only=True)
class Node:
    """A node and what runs on it.

    Attributes:
        name: primary, core-1 or core-2.
        data: the folder in which everything lies that is written on a node.
        shared: other folders of the node in which anybody may write.
        s3a: launch/s3a.conf.
        environment: of the container.
        credentials: the file with the key of the job's user.
        cluster: that it belongs to since the last reset.
    """

    name: str
    data: Path
    shared: Sequence[Path]
    s3a: Path
    environment: Mapping[str, str]
    credentials: Path
    cluster: str | None = None
    _given: dict[str, configuration.Properties] = field(default_factory=lambda: configuration.properties([]))
    _processes: dict[str, Process] = field(default_factory=dict)
    _daemons: dict[Daemon, Process] = field(default_factory=dict)
    # One change at a time; questions are answered meanwhile.
    _change: threading.Lock = field(default_factory=threading.Lock)

    @property
    def logs(self) -> Path:
        """What is /var/log on the node."""
        return self.data / "var/log"

    @property
    def conf(self) -> Path:
        """What is below /etc/hadoop and /etc/spark on the node."""
        return self.data / "conf"

    def state(self) -> dict[str, Any]:
        """Name, cluster, and how many processes run."""
        running = sum(process.exit_code is None for process in list(self._processes.values()))
        return {"node": self.name, "cluster": self.cluster, "processes": running}

    def reset(self, cluster: str | None, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make the node as new, for `cluster`; what it can give to YARN, in words."""
        given = configuration.properties(configurations)
        asked, host = sizing.instance(self.environment["INSTANCE_TYPE"]), sizing.this_host()
        size = sizing.worker(asked, host)
        with self._change:
            processes.end_all([*self._processes.values(), *self._daemons.values()])
            self._processes, self._daemons, self._given, self.cluster = {}, {}, given, None
            for folder in (self.data, *self.shared):
                wiping.wipe(folder)
            for name in ("home", "opt", "tmp", "s3", "var/log", "conf"):
                (self.data / name).mkdir(parents=True)
            configuration.write(
                given, asked=asked, node=size, s3a=self.s3a, environment=self.environment, folder=self.conf
            )
            self.cluster = cluster
        return {"cluster": cluster, "size": sizing.words(asked, size, host), "yarn_mb": size.yarn_mb}

    def start_daemons(self) -> None:
        """Start those of this node that do not run, and wait until they are up."""
        with self._change:
            if not (self.conf / "hadoop").exists():
                raise RequestError(HTTPStatus.CONFLICT, f"{self.name} has no configuration; reset it first")
            exported = self._given["hadoop-env"] | self._given["yarn-env"]
            conf, environment = self.conf / "hadoop", self._environment(exported)
            for daemon in daemons.of(self.name):
                if daemon == daemons.NAMENODE and not (self.data / "namenode").exists():
                    self._format(daemons.format_namenode(conf=conf, home=HADOOP_HOME), environment)
                known = self._daemons.get(daemon)
                if known is None or known.exit_code is not None:
                    self._daemons[daemon] = processes.start(
                        daemons.command(daemon, conf=conf, home=HADOOP_HOME, environment=exported),
                        env=environment,
                        cwd=self.data,
                        stdout=self.logs / f"{daemon.log}-{self.name}.out",
                        stderr=self.logs / f"{daemon.log}-{self.name}.log",
                    )
            daemons.wait(self._daemons, node=self.name)

    def stop_daemons(self) -> None:
        """End this node's daemons; the NodeManager ends its containers."""
        with self._change:
            processes.end(self._daemons.values())
            self._daemons = {}

    def start(self, asked: Mapping[str, Any]) -> str:
        """Start a process as the endpoint describes it; its id."""
        argv, env = asked.get("argv"), asked.get("env") or {}
        if not isinstance(argv, list) or not argv or not all(isinstance(argument, str) for argument in argv):
            raise RequestError(HTTPStatus.BAD_REQUEST, "argv is to be a list of texts, the program first")
        if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
            raise RequestError(HTTPStatus.BAD_REQUEST, "env is to be an object of texts")
        if self.cluster is None:
            raise RequestError(HTTPStatus.CONFLICT, f"{self.name} belongs to no cluster; reset it first")
        process_id = f"p-{os.urandom(6).hex()}"
        files = {
            name: self._log(asked.get(name) or f"processes/{process_id}/{name}", must_exist=False)
            for name in ("stdout", "stderr")
        }
        with self._change:
            self._processes[process_id] = processes.start(
                argv,
                env=self._environment(env),
                cwd=Path(asked.get("cwd") or self.data / "home"),
                stdout=files["stdout"],
                stderr=files["stderr"],
            )
        return process_id

    def process(self, process_id: str) -> Process:
        """The process with this id."""
        if process_id not in self._processes:
            raise RequestError(HTTPStatus.NOT_FOUND, f"{self.name} has no process {process_id}")
        return self._processes[process_id]

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each file below /var/log, by its name there."""
        found = {}
        for path in sorted(self.logs.rglob("*")):
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(self.logs).as_posix()] = path.stat().st_size
        return found

    def log(self, name: str) -> Path:
        """The log of this name."""
        return self._log(name, must_exist=True)

    def versions(self) -> dict[str, str]:
        """Of spark, hadoop, scala, python and java, as these programs tell them."""
        return versions.installed(self._environment({}), hadoop=HADOOP_HOME)

    def _format(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=False
        )
        if ran.returncode:
            raise daemons.DaemonError(f"namenode -format failed: {' '.join(ran.stderr.split())[-300:]}")

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """A process's: the container's, and `more`. The key is lab/emr/metadata.py's to give."""
        container = {name: value for name, value in self.environment.items() if name not in _OWN}
        folders = {"HOME": str(self.data / "home"), "TMPDIR": str(self.data / "tmp")}
        return {**container, **folders, "USER": "hadoop", **more}

    def _log(self, name: Any, *, must_exist: bool) -> Path:
        path = (self.logs / str(name)).resolve()
        if not path.is_relative_to(self.logs.resolve()) or path == self.logs.resolve():
            raise RequestError(HTTPStatus.BAD_REQUEST, f"{name!r} is no name of a log below /var/log")
        if must_exist and not path.is_file():
            raise RequestError(HTTPStatus.NOT_FOUND, f"{self.name} has no log {name}")
        return path


def key(credentials: Path = CREDENTIALS) -> dict[str, str]:
    """The key of the job's user, as AWS_ variables.

    Raises:
        OSError: the container `secrets` has not written it.
    """
    return dict(line.split("=", 1) for line in credentials.read_text().splitlines())


def token(credentials: Path = CREDENTIALS) -> str:
    """What the endpoint shows and the controllers ask for: who has the nodes' key may command them.

    Raises:
        OSError: see `key`.
    """
    secret = key(credentials)["AWS_SECRET_ACCESS_KEY"]
    return hmac.new(secret.encode(), b"instance controller", hashlib.sha256).hexdigest()


def server(node: Node, *, address: str, port: int) -> ThreadingHTTPServer:
    """The controller of `node`, ready to serve."""
    secret = token(node.credentials)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(_get)

        def do_POST(self) -> None:
            self._answer(_post)

        def _answer(self, act: Callable[[Node, str, BaseHTTPRequestHandler], Any]) -> None:
            path = unquote(urlsplit(self.path).path)
            if path != "/" and not hmac.compare_digest(self.headers.get("X-Token", "").encode(), secret.encode()):
                _send(self, {"error": "the header X-Token is not the lab's"}, status=HTTPStatus.FORBIDDEN)
                return
            try:
                answer = act(node, path, self)
            except RequestError as error:
                _send(self, {"error": str(error)}, status=error.status)
            except (configuration.ConfigurationError, processes.ProcessError, sizing.SizingError) as error:
                _send(self, {"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
            except (daemons.DaemonError, OSError, subprocess.SubprocessError) as error:
                _send(self, {"error": str(error)}, status=HTTPStatus.INTERNAL_SERVER_ERROR)
            else:
                if isinstance(answer, Path):
                    _send_file(self, answer)
                else:
                    _send(self, answer)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            # What is asked every second is not worth a line.
            if self.command != "GET":
                super().log_request(code, size)

    return ThreadingHTTPServer((address, port), Handler)


def _get(node: Node, path: str, _: BaseHTTPRequestHandler) -> Any:
    if path == "/":
        return node.state()
    if path == "/versions":
        return node.versions()
    if path == "/logs":
        return [{"name": name, "bytes": size} for name, size in node.log_sizes().items()]
    if path.startswith("/logs/"):
        return node.log(path.removeprefix("/logs/"))
    if found := re.fullmatch(r"/processes/([^/]+)", path):
        process = node.process(found[1])
        code = process.exit_code  # before the sizes: what it wrote last is counted
        sizes = {
            f"{name}_bytes": file.stat().st_size
            for name, file in (("stdout", process.stdout), ("stderr", process.stderr))
        }
        return {"exit": code, "pid": process.pid, **sizes}
    if found := re.fullmatch(r"/processes/([^/]+)/(stdout|stderr)", path):
        process = node.process(found[1])
        return process.stdout if found[2] == "stdout" else process.stderr
    raise _unknown(path)


def _post(node: Node, path: str, request: BaseHTTPRequestHandler) -> Any:
    body = _body(request)
    if path == "/reset":
        return node.reset(body.get("cluster"), body.get("configurations") or [])
    if path == "/daemons":
        actions = {"start": node.start_daemons, "stop": node.stop_daemons}
        if body.get("action") not in actions:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"action {body.get('action')!r}: choose start or stop")
        actions[body["action"]]()
        return {}
    if path == "/processes":
        return {"id": node.start(body)}
    if found := re.fullmatch(r"/processes/([^/]+)/kill", path):
        process = node.process(found[1])
        processes.end([process])
        return {"exit": process.exit_code}
    raise _unknown(path)


def _unknown(path: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"the instance controller knows no {path}")


def _body(request: BaseHTTPRequestHandler) -> dict[str, Any]:
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or int(length) > BODY_BYTES:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"Content-Length {length!r} is to be 0 to {BODY_BYTES}")
    try:
        body = json.loads(request.rfile.read(int(length)) or b"{}")
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body is no JSON") from error
    if not isinstance(body, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body is to be an object")
    return body


def _send(request: BaseHTTPRequestHandler, answer: Any, *, status: HTTPStatus = HTTPStatus.OK) -> None:
    content = json.dumps(answer).encode()
    _head(request, status, kind="application/json", length=len(content))
    request.wfile.write(content)


def _send_file(request: BaseHTTPRequestHandler, path: Path) -> None:
    """The file from ?offset=N on, as long as it is now: it may be growing."""
    asked = parse_qs(urlsplit(request.path).query).get("offset", ["0"])[0]
    if not asked.isdecimal():
        _send(request, {"error": f"offset {asked!r} is no number of bytes"}, status=HTTPStatus.BAD_REQUEST)
        return
    with path.open("rb") as file:
        left = max(0, os.fstat(file.fileno()).st_size - int(asked))
        file.seek(int(asked))
        _head(request, HTTPStatus.OK, kind="application/octet-stream", length=left)
        _copy(file, request.wfile, left)


def _copy(source: BinaryIO, target: Any, left: int) -> None:
    while left and (part := source.read(min(left, 1024 * 1024))):
        target.write(part)
        left -= len(part)


def _head(request: BaseHTTPRequestHandler, status: HTTPStatus, *, kind: str, length: int) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(length))
    request.end_headers()


def main() -> int:
    """Serve until the container ends; exit code 1 where the key is missing."""
    node = Node(
        name=os.environ["NODE"],
        data=Path("/mnt"),
        shared=SHARED,
        s3a=S3A,
        environment=os.environ.copy(),
        credentials=CREDENTIALS,
    )
    keeper.adopt_orphans()
    try:
        serving = server(node, address="0.0.0.0", port=PORT)  # noqa: S104 - the container's own networks
        beside = [metadata.server(lambda: key(CREDENTIALS))]
        if node.name == "primary":
            beside.append(door.server(token(CREDENTIALS), address="0.0.0.0"))  # noqa: S104
        for each in beside:
            threading.Thread(target=each.serve_forever, daemon=True).start()
    except OSError as error:
        sys.stderr.write(
            f"error: {error.filename or PORT}: {error.strerror}; docker compose logs secrets may tell why\n"
        )
        return 1
    serving.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
