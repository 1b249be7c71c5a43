"""What all clusters of the lab share, and the changes of a cluster's state that both requests and its thread make."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emr_lab.endpoint.nodes import NodeClient, YarnClient
from emr_lab.endpoint.records import Cluster, ClusterStore
from emr_lab.endpoint.validation import Capabilities

_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class EndpointState:
    """What all clusters share.

    Attributes:
        capabilities: the release, and the core nodes.
        nodes: by their names; `primary` and the core nodes.
        yarn: the ResourceManager on the primary.
        s3: client for the logs.
        store: what is remembered; only to be read and changed under `lock`.
        keys: secrets of those who may ask for clusters, by their access key ids.
        token_key: that the tokens of sessions are made with.
        sessions_url: where the proxy before the sessions' servers is reached, as GetSessionEndpoint tells it.
        certificate: the file with the certificate by which that proxy is known.
        called_s: when a session's server was called last, by the session's id; not kept over a restart.
        unsaved: the file of the clusters could not be written.
        clock: seconds since 1970.
        tick_s: between two polls of a cluster's thread.
    """

    capabilities: Capabilities
    nodes: dict[str, NodeClient]
    yarn: YarnClient
    s3: Any
    store: ClusterStore
    keys: Mapping[str, str] = field(repr=False)
    token_key: bytes = field(repr=False)
    sessions_url: str
    certificate: Path
    called_s: dict[str, float] = field(default_factory=dict)
    unsaved: bool = False
    clock: Callable[[], float] = time.time
    tick_s: float = 0.5
    lock: threading.RLock = field(default_factory=threading.RLock)
    closed: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock meanwhile, and save what was changed; what fails, or cannot be saved, has changed nothing.

        Raises:
            OSError: it cannot be saved.
        """
        with self.lock:
            put_back = self.store.remember()
            try:
                yield
                self._save()
            except BaseException:
                put_back()
                raise

    @contextmanager
    def record(self) -> Iterator[None]:
        """Hold the lock meanwhile, and save what has happened, or is to end: also where that is not possible yet."""
        with self.lock:
            yield
            with suppress(OSError):
                self._save()

    def close(self) -> None:
        """Let go of the clusters: their threads stop at the next poll, and nothing else changes."""
        self.closed.set()

    def pause(self, cluster: Cluster) -> None:
        """Wait for the next poll of the cluster; what could not be saved before is.

        Raises:
            TerminatingError: it is to end.
            ClosedError: the endpoint stops.
        """
        raise_if_terminating(cluster)
        if self.unsaved:
            with self.record():
                pass
        if self.closed.wait(self.tick_s):
            raise ClosedError
        raise_if_terminating(cluster)

    def _save(self) -> None:
        """Save what is remembered, and say once where that fails. Under the lock."""
        try:
            if self.store.save():
                self.unsaved = False
        except OSError as error:
            if not self.unsaved:
                _LOG.error("the clusters cannot be saved: %s; until they can, no step is started", error)
            self.unsaved = True
            raise


class ClosedError(Exception):
    """The endpoint stops; the cluster goes on without it."""


class TerminatingError(Exception):
    """The cluster is to end."""


def raise_if_terminating(cluster: Cluster) -> None:
    """Return, as long as the cluster is not to end.

    Raises:
        TerminatingError: it is to end.
    """
    if cluster.state == "TERMINATING":
        raise TerminatingError


def terminate(cluster: Cluster, code: str, message: str, *, with_errors: bool = False) -> None:
    """Let the cluster's thread end it, and remember the first reason. To be called under the lock."""
    if cluster.state != "TERMINATING" and cluster.ended_s is None:
        cluster.state, cluster.code, cluster.message, cluster.with_errors = "TERMINATING", code, message, with_errors


def cancel_pending(cluster: Cluster, message: str, *, now_s: float) -> None:
    """Cancel the steps that have not begun. To be called under the lock."""
    for step in cluster.steps:
        if step.state == "PENDING":
            step.state, step.message, step.ended_s = "CANCELLED", message, now_s
