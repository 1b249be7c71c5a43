"""A node's instance controller: does what the endpoint says, and nothing by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from base import sizing
from emr_lab.node import configuration, daemons, processes, versions, wiping
from emr_lab.node.daemons import Daemon
from emr_lab.node.processes import Process
from emr_lab.protocol import classifications

HADOOP_HOME = Path("/usr/lib/hadoop")
COMMAND_TIMEOUT_S = 60.0
_NODE = re.compile(r"[a-z0-9-]+")
_PROCESS = re.compile(r"[A-Za-z0-9-]+")
_LATEST_S = 253_402_300_800  # the year 10000
# Below a node's data, which a job finds there: the last two are those of /usr/local, into which pip installs.
_PACKAGES = f"usr/local/lib/python{sys.version_info.major}.{sys.version_info.minor}/dist-packages"
FOLDERS = ("home", "opt", "tmp", "s3", "var/log", "conf", "usr/local/bin", _PACKAGES)
# Of the container, for the controller itself: EMR gives processes no region.
_OWN = frozenset({"AWS_REGION", "INSTANCE_TYPE", "NODE"})


class RequestError(Exception):
    """A request that cannot be done: the HTTP status, and one line with the cause."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(kw_only=True)
class InstanceController:
    """A node and what runs on it.

    Attributes:
        name: primary, core-1 or core-2.
        data: the folder in which everything lies that is written on a node.
        shared: other folders of the node in which anybody may write.
        s3a: launch/s3a.conf.
        environment: of the container.
        credentials: the file with the key of the job's user.
        cluster: that it belongs to since the last reset.
        alone: it is that cluster's only node.
        interruption_s: seconds since 1970 at which it will be taken away, as EC2 takes a spot instance; mostly None.
    """

    name: str
    data: Path
    shared: Sequence[Path]
    s3a: Path
    environment: Mapping[str, str]
    credentials: Path
    cluster: str | None = None
    alone: bool = False
    interruption_s: float | None = None
    _properties: dict[str, classifications.Properties] = field(default_factory=lambda: classifications.properties([]))
    _processes: dict[str, Process] = field(default_factory=dict)
    _daemons: dict[Daemon, Process] = field(default_factory=dict)
    # One change at a time; questions are answered meanwhile.
    _change: threading.Lock = field(default_factory=threading.Lock)
    # The masters take their time: no step waits for them.
    _telling: threading.Lock = field(default_factory=threading.Lock)

    @property
    def logs(self) -> Path:
        """What is /var/log on the node."""
        return self.data / "var/log"

    @property
    def conf(self) -> Path:
        """What is below /etc/hadoop and /etc/spark on the node."""
        return self.data / "conf"

    def state(self) -> dict[str, Any]:
        """Return the node's name, its cluster, and how many processes run."""
        running = sum(process.exit_code is None for process in list(self._processes.values()))
        return {"node": self.name, "cluster": self.cluster, "processes": running}

    def reset(
        self, cluster: str | None, configurations: Sequence[Mapping[str, Any]], *, alone: bool = False
    ) -> dict[str, Any]:
        """Make the node as new, for the cluster of this id, of which it may be the only one; return what it can give to
        YARN.
        """
        properties = classifications.properties(configurations)
        on_emr, host = sizing.instance(self.environment["INSTANCE_TYPE"]), sizing.this_host()
        size = sizing.worker(on_emr, host)
        with self._change:
            processes.end_all([*self._processes.values(), *self._daemons.values()])
            self._forget()
            self._properties, self.alone = properties, alone
            for name in FOLDERS:
                (self.data / name).mkdir(parents=True)
            configuration.write(
                properties,
                on_emr=on_emr,
                node=size,
                alone=alone,
                s3a=self.s3a,
                environment=self.environment,
                folder=self.conf,
            )
            self.cluster = cluster
        return {"cluster": cluster, "size": sizing.words(on_emr, size, host), "yarn_mb": size.yarn_mb}

    def power_off(self) -> None:
        """End everything at once, as on a machine whose power fails, and leave nothing of it; the controller stays."""
        with self._change:
            processes.kill_all([*self._processes.values(), *self._daemons.values()])
            self._forget()

    def start_daemons(self, *, data: bool) -> None:
        """Start those of this node that do not run, and wait until they are up; see `daemons.of`."""
        with self._change:
            if not (self.conf / "hadoop").exists():
                raise RequestError(HTTPStatus.CONFLICT, f"{self.name} has no configuration; reset it first")
            exported = self._properties["hadoop-env"] | self._properties["yarn-env"]
            conf, environment = self.conf / "hadoop", self._environment(exported)
            for daemon in daemons.of(self.name, alone=self.alone, data=data):
                if daemon == daemons.NAMENODE and not (self.data / "namenode").exists():
                    self._run(daemons.format_namenode(conf=conf, home=HADOOP_HOME))
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

    def interrupt(self, time_s: Any) -> None:
        """Let the metadata service say that the node will be taken away at `time_s`, in seconds since 1970."""
        if not isinstance(time_s, (int, float)) or not 0 <= time_s < _LATEST_S:
            raise RequestError(HTTPStatus.BAD_REQUEST, "time_s is to be a number of seconds since 1970")
        self.interruption_s = time_s

    def decommission(self, timeouts_s: Any) -> None:
        """Let YARN and HDFS do without these nodes, and take in all others; YARN ends what runs there after a timeout.

        https://hadoop.apache.org/docs/r3.4.2/hadoop-yarn/hadoop-yarn-site/GracefulDecommission.html
        """
        if not isinstance(timeouts_s, dict) or any(
            not _NODE.fullmatch(name) or type(timeout_s) is not int for name, timeout_s in timeouts_s.items()
        ):
            raise RequestError(HTTPStatus.BAD_REQUEST, "timeouts_s is to be an object of whole seconds by nodes' names")
        with self._telling:
            if self.name != "primary" or not self._daemons:
                raise RequestError(HTTPStatus.CONFLICT, f"{self.name} runs neither YARN's nor HDFS's master")
            configuration.exclude(timeouts_s, folder=self.conf)
            # Without -g at once: of a node that is dead already YARN would not see that its time is over.
            graceful = ["-g", str(max(timeouts_s.values())), "-server"] if any(timeouts_s.values()) else []
            self._run(["yarn", "rmadmin", "-refreshNodes", *graceful])
            self._run(["hdfs", "dfsadmin", "-refreshNodes"])

    def datanodes(self) -> dict[str, str]:
        """Return what the NameNode of this node says of each DataNode; see `daemons.datanodes`."""
        return daemons.datanodes()

    def start(self, request: Mapping[str, Any]) -> str:
        """Start a process as the endpoint describes it; return its id."""
        argv, env = request.get("argv"), request.get("env") or {}
        if not isinstance(argv, list) or not argv or not all(isinstance(argument, str) for argument in argv):
            raise RequestError(HTTPStatus.BAD_REQUEST, "argv is to be a list of texts, the program first")
        if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
            raise RequestError(HTTPStatus.BAD_REQUEST, "env is to be an object of texts")
        if self.cluster is None:
            raise RequestError(HTTPStatus.CONFLICT, f"{self.name} belongs to no cluster; reset it first")
        process_id = request.get("id") or f"p-{os.urandom(6).hex()}"
        if not isinstance(process_id, str) or not _PROCESS.fullmatch(process_id):
            raise RequestError(HTTPStatus.BAD_REQUEST, "id is to be a text of letters, digits and hyphens")
        files = {
            name: self._log(request.get(name) or f"processes/{process_id}/{name}", must_exist=False)
            for name in ("stdout", "stderr")
        }
        with self._change:
            if process_id in self._processes:
                raise RequestError(HTTPStatus.CONFLICT, f"{self.name} has a process {process_id} already")
            self._processes[process_id] = processes.start(
                argv,
                env=self._environment(env),
                cwd=Path(request.get("cwd") or self.data / "home"),
                stdout=files["stdout"],
                stderr=files["stderr"],
            )
        return process_id

    def process(self, process_id: str) -> Process:
        """Return the process with this id."""
        if process_id not in self._processes:
            raise RequestError(HTTPStatus.NOT_FOUND, f"{self.name} has no process {process_id}")
        return self._processes[process_id]

    def log_sizes(self) -> dict[str, int]:
        """Return the bytes of each file below /var/log, by its name there; a name that is no text cannot be told."""
        sizes_bytes = {}
        for path in sorted(self.logs.rglob("*")):
            name = path.relative_to(self.logs).as_posix()
            if path.is_file() and not path.is_symlink() and name == os.fsencode(name).decode(errors="replace"):
                sizes_bytes[name] = path.stat().st_size
        return sizes_bytes

    def log(self, name: str) -> Path:
        """Return the path of the log of this name."""
        return self._log(name, must_exist=True)

    def versions(self) -> dict[str, str]:
        """Return the versions of spark, hadoop, scala, python and java, as these programs tell them."""
        return versions.installed(self._environment({}), hadoop=HADOOP_HOME)

    def _forget(self) -> None:
        """Leave nothing of what has ended. Under the lock."""
        self._processes, self._daemons, self.cluster, self.interruption_s = {}, {}, None, None
        for folder in (self.data, *self.shared):
            wiping.wipe(folder)

    def _run(self, command: Sequence[str]) -> None:
        """Run a command of Hadoop's to its end."""
        ran = subprocess.run(
            command,
            env=self._environment(self._properties["hadoop-env"]),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if ran.returncode:
            raise daemons.DaemonError(f"{' '.join(command)[-100:]} failed: {' '.join(ran.stderr.split())[-300:]}")

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return a process's environment: the container's, and `more`. The key is metadata.py's to give."""
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
