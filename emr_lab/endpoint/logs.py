"""The cluster's logs on their way to S3, gzipped and laid out as EMR lays them.

    <LogUri>/<cluster>/steps/<step>/{controller,stderr,stdout,syslog}.gz
    <LogUri>/<cluster>/containers/<application>/<container>/{stderr,stdout,…}.gz
    <LogUri>/<cluster>/sessions/<session>/{SPARK_DRIVER,SPARK_EXECUTOR/<container>}/{stderr,stdout}.gz
    <LogUri>/<cluster>/node/<instance>/{bootstrap-actions/<n>,applications/<name>}/….gz

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-web-log-files.html

A log is compressed in this process's memory: of one that is larger than the lab brings, the beginning and the end come.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from emr_lab.endpoint.nodes import NodeClient, NodeError, UnknownError

# Below /var/log of a node, as EMR has them there.
STEPS, SESSIONS = "hadoop/steps/", "hadoop/sessions/"
BOOTSTRAP_ACTIONS, CONTAINERS = "bootstrap-actions/", "hadoop-yarn/containers/"
OF_PROCESSES = (STEPS, BOOTSTRAP_ACTIONS)
# A Python driver's traceback with Java's stack in it begins some 20 kB before its end.
TAIL_BYTES = 100_000
# Of the beginning of a log, in parts.
MOST_BYTES, PART_BYTES = 128 * 1024 * 1024, 8 * 1024 * 1024
LEVEL = 6  # zlib's own: 9, Python's, takes a cluster's thread several times as long
CUT = b"\n[the middle of this log is left out: the EMR lab brings the beginning and the end of one so large]\n"

_LOG = logging.getLogger(__name__)


class LogBucket:
    """The place in S3 for a cluster's logs; without a LogUri there is none. What S3 refuses is logged once."""

    def __init__(self, s3: Any, uri: str | None) -> None:
        self.uri = uri
        self._s3 = s3
        self._refused = False

    def put(self, name: str, content: bytes) -> None:
        """Write `<name>.gz`; `content` is compressed already."""
        if self.uri is None:
            return
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        try:
            self._s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}.gz", Body=content, ContentType="application/gzip")
        except (ClientError, BotoCoreError) as error:
            if not self._refused:
                _LOG.warning("no logs come to %s: %s", self.uri, error)
            self._refused = True


class IncrementalLog:
    """A log on its way to S3: what is new is fetched and compressed, and the whole is written again.

    Attributes:
        tail: its end, as far as it has been fetched.
    """

    def __init__(self, bucket: LogBucket, name: str, read: Callable[[int, int], bytes]) -> None:
        """Take its place, and what reads it: from an offset on, of the end where that is below 0, so many bytes."""
        self._bucket, self._name, self._read = bucket, name, read
        self._offset = 0
        self._compressed = self._beginning = self._rest = self.tail = b""

    def push(self) -> None:
        """Bring what is new; an empty log is written once.

        Raises:
            NodeError: the node does not give it.
        """
        is_new = not self._compressed
        while part := self._read(self._offset, min(PART_BYTES, MOST_BYTES - self._offset)):
            self._offset += len(part)
            # Members of one gzip file follow each other.
            self._compressed += gzip.compress(part, LEVEL, mtime=0)
            self._beginning = (self._beginning + part)[-TAIL_BYTES:]
            is_new = True
        rest = self._read(MOST_BYTES, TAIL_BYTES) if self._offset == MOST_BYTES else b""
        if len(rest) == TAIL_BYTES:  # or more
            rest = CUT + self._read(-TAIL_BYTES, TAIL_BYTES)
        if is_new or rest != self._rest:
            self._compressed = self._compressed or gzip.compress(b"", mtime=0)
            self._rest, self.tail = rest, (self._beginning + rest)[-TAIL_BYTES:]
            self._bucket.put(self._name, self._compressed + (gzip.compress(rest, mtime=0) if rest else b""))


def of_process(bucket: LogBucket, folder: str, node: NodeClient, process: str) -> list[IncrementalLog]:
    """Return the logs of a process on a node: its stdout and its stderr."""

    def reader(stream: str) -> Callable[[int, int], bytes]:
        return lambda offset, most: node.output(process, stream, offset=offset, most=most)

    return [IncrementalLog(bucket, f"{folder}/{stream}", reader(stream)) for stream in ("stdout", "stderr")]


class NodeLogShipper:
    """The logs that the nodes keep: those of YARN's containers, and of the daemons."""

    def __init__(self, bucket: LogBucket, instances: Callable[[], Mapping[NodeClient, str]]) -> None:
        self._bucket, self._instances = bucket, instances
        self._sizes_bytes: dict[tuple[str, str], int] = {}

    def push(self) -> None:
        """Bring those that are new or have grown; a node that does not answer is left out."""
        if self._bucket.uri is None:
            return
        for node, instance in self._instances().items():
            try:
                for name, size_bytes in node.log_sizes().items():
                    self._push(node, instance, name, size_bytes)
            except NodeError as error:
                _LOG.warning("the logs of %s are not complete: %s", node.name, error)

    def _push(self, node: NodeClient, instance: str, name: str, size_bytes: int) -> None:
        if name.startswith(OF_PROCESSES) or self._sizes_bytes.get((instance, name)) == size_bytes:
            return
        of_container = name.startswith(CONTAINERS)
        place = (
            f"containers/{name.removeprefix(CONTAINERS)}" if of_container else f"node/{instance}/applications/{name}"
        )
        _bring(self._bucket, place, node, name)
        self._sizes_bytes[instance, name] = size_bytes


class SessionLogShipper:
    """The logs of a session's driver and executors, which S3LoggingConfiguration wants in a place of their own."""

    def __init__(self, bucket: LogBucket, nodes: Callable[[], Collection[NodeClient]]) -> None:
        self._bucket, self._nodes = bucket, nodes
        self._sizes_bytes: dict[str, int] = {}

    def push(self, application: str, types: Mapping[str, frozenset[str]]) -> None:
        """Bring those of the application that are new or have grown; a node that does not answer is left out.

        Args:
            application: the session's, in YARN.
            types: the streams that are wanted, of SPARK_DRIVER and of SPARK_EXECUTOR.
        """
        for node in self._nodes():
            try:
                for name, size_bytes in node.log_sizes().items():
                    if not name.startswith(f"{CONTAINERS}{application}/") or self._sizes_bytes.get(name) == size_bytes:
                        continue
                    container, _, stream = name.removeprefix(f"{CONTAINERS}{application}/").partition("/")
                    # YARN counts an application's containers; its master has the first.
                    is_driver = container.endswith("_000001")
                    component = "SPARK_DRIVER" if is_driver else "SPARK_EXECUTOR"
                    if stream in types.get(component, ()):
                        place = component if is_driver else f"{component}/{container}"
                        _bring(self._bucket, f"{place}/{stream}", node, name)
                    self._sizes_bytes[name] = size_bytes
            except NodeError as error:
                _LOG.warning("the session's logs on %s are not complete: %s", node.name, error)


def _bring(bucket: LogBucket, place: str, node: NodeClient, name: str) -> None:
    """Bring a log that a node keeps, as it is now; one that has been removed meanwhile keeps from coming no other."""
    with suppress(UnknownError):
        IncrementalLog(bucket, place, lambda offset, most: node.log(name, offset=offset, most=most)).push()
