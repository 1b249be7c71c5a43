"""Leads a cluster through its states: prepares the nodes, runs bootstrap actions, daemons and steps, cleans up.

One thread has a cluster, and others its machines that come and go (resizing.py). Requests only change what is
remembered, under the lock: a step to be run or cancelled, a cluster to be ended; the thread sees it at its next poll.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from emr_lab.endpoint import instances, logs, provisioning
from emr_lab.endpoint.nodes import LostError, NodeClient, NodeError, on_each
from emr_lab.endpoint.records import Cluster, Instance
from emr_lab.endpoint.resizing import Resizer
from emr_lab.endpoint.sessions import SessionRunner
from emr_lab.endpoint.state import (
    ClosedError,
    EndpointState,
    TerminatingError,
    cancel_pending,
    raise_if_terminating,
    terminate,
)
from emr_lab.endpoint.steps import StepRunner

NODE_INTERVAL_S = 5.0  # between two checks of the nodes and of YARN's applications

_LOG = logging.getLogger(__name__)


def resume(state: EndpointState) -> None:
    """Go on with the clusters that had not ended when the endpoint stopped."""
    with state.record():
        for cluster in state.store.clusters.values():
            if cluster.state in {"STARTING", "BOOTSTRAPPING"}:
                message = "The lab's endpoint was restarted while the cluster was starting."
                terminate(cluster, "INTERNAL_ERROR", message, with_errors=True)
        unfinished = [each for each in state.store.clusters.values() if each.ended_s is None]
    for cluster in unfinished:
        start(state, cluster)


def start(state: EndpointState, cluster: Cluster) -> None:
    """Give the cluster its thread."""
    threading.Thread(target=ClusterLifecycle(state, cluster).run, name=cluster.id, daemon=True).start()


class ClusterLifecycle:
    """Leads one cluster from its first state to its last."""

    def __init__(self, state: EndpointState, cluster: Cluster) -> None:
        self.state, self.cluster = state, cluster
        self.primary = state.nodes["primary"]
        self.bucket = logs.LogBucket(state.s3, cluster.logs)
        self.node_logs = logs.NodeLogShipper(self.bucket, lambda: {node: each.ec2 for node, each in self.nodes.items()})
        self.steps = StepRunner(state, cluster, primary=self.primary, bucket=self.bucket, nodes=self.node_logs)
        self.sessions = SessionRunner(state, cluster, primary=self.primary, nodes=lambda: list(self.nodes))
        resizer = Resizer(state, cluster, bucket=self.bucket, node_logs=self.node_logs)
        self.resizer = threading.Thread(target=resizer.run, name=f"{cluster.id}-resizer", daemon=True)
        self.nodes_seen_s = time.monotonic() - NODE_INTERVAL_S  # when all nodes had answered

    @property
    def nodes(self) -> dict[NodeClient, Instance]:
        """The nodes that the cluster has now, but for those that are on their way to it."""
        with self.state.lock:
            return {self.state.nodes[each.node]: each for each in self.cluster.machines() if each.joined}

    def run(self) -> None:
        """Lead the cluster through its states; what goes wrong on the nodes ends it with its reason."""
        try:
            self._lead()
            self._clean_up()
        except ClosedError:
            return

    def _lead(self) -> None:
        try:
            if self.cluster.state == "STARTING":
                self._wait_for_nodes()
                self._provision()
                self._bootstrap()
                self._start_daemons()
            else:  # of a new cluster one may have come meanwhile, which nobody has lost
                self.sessions.resume()
            self.resizer.start()
            self.steps.resume()
            while True:
                self._poll()
                self.state.pause(self.cluster)
        except TerminatingError:
            return
        except LostError as error:
            self._fail("INSTANCE_FAILURE", f"A node of the lab was lost: {error}")
        except NodeError as error:
            self._fail("INTERNAL_ERROR", str(error))

    def _fail(self, code: str, message: str) -> None:
        with self.state.record():
            terminate(self.cluster, code, message, with_errors=True)

    def _wait_for_nodes(self) -> None:
        """Wait until the cluster before this one has left its nodes."""
        while not self._has_nodes():
            self.state.pause(self.cluster)

    def _provision(self) -> None:
        provisioning.reset(list(self.nodes), self.cluster, self.state.capabilities.release)
        with self.state.record():
            raise_if_terminating(self.cluster)
            self.cluster.state, self.cluster.message = "BOOTSTRAPPING", "Running bootstrap actions"

    def _bootstrap(self) -> None:
        try:
            provisioning.bootstrap(self.state, self.cluster, self.nodes, self.bucket)
        except provisioning.BootstrapError as error:
            self._fail("BOOTSTRAP_FAILURE", self._bootstrap_failure(error))
            raise TerminatingError from error

    def _bootstrap_failure(self, error: provisioning.BootstrapError) -> str:
        """Return the reason in EMR's words."""
        names = [self.nodes[node].ec2 for node in error.nodes if node is not self.primary]
        if self.primary in error.nodes:
            where = f"the master instance ({self.nodes[self.primary].ec2})"
        elif len(names) == 1:
            where = f"a slave instance ({names[0]})"
        else:
            where = f"{len(names)} slave instances (including {' and '.join(names)})"
        return f"On {where}, {error}"

    def _start_daemons(self) -> None:
        nodes = self.nodes
        on_each(
            nodes,
            lambda node: node.start_daemons(data=instances.keeps_data(nodes[node], self.cluster)),
        )
        with self.state.record():
            raise_if_terminating(self.cluster)
            self.cluster.ready_s = self.state.clock()
            self.cluster.state, self.cluster.message = "WAITING", "Cluster ready to run steps."

    def _poll(self) -> None:
        """See what has changed, and act on it."""
        try:
            if time.monotonic() - self.nodes_seen_s >= NODE_INTERVAL_S:
                self._check_nodes()
                self.nodes_seen_s = time.monotonic()
            self.steps.poll()
            self.sessions.poll()
        except LostError:
            if time.monotonic() - self.nodes_seen_s > NODE_INTERVAL_S + provisioning.NODE_SILENCE_S:
                raise
            return
        self.steps.start()
        with self.state.lock:
            self._wait_or_terminate()
            is_idle = self._is_idle_for_too_long()
        if is_idle:
            self._update_idle_time()  # one may have begun since the last check of the nodes
            self._terminate_if_idle()

    def _check_nodes(self) -> None:
        for node, instance in self.nodes.items():
            if instance.noticed:  # it is being taken away, and may be gone before its time
                continue
            if node.cluster() != self.cluster.id and instance.joined:
                message = f"{node.name} was started anew and has lost the cluster"
                self._fail("INSTANCE_FAILURE", f"The {self._role(node)} failed: {message}.")
                raise TerminatingError
        if not self.cluster.active():
            self._update_idle_time()

    def _update_idle_time(self) -> None:
        """Note since when the cluster has been idle: without a step, and YARN without an application."""
        busy = any(True for _ in self._applications())
        with self.state.lock:
            is_idle = not busy and not self.cluster.active()
            if is_idle != (self.cluster.idle_since_s is not None):
                with self.state.record():
                    self.cluster.idle_since_s = self.state.clock() if is_idle else None

    def _role(self, node: NodeClient) -> str:
        return "master" if node is self.primary else "slave"

    def _applications(self) -> Iterator[str]:
        with suppress(LostError):  # without a ResourceManager nothing can run
            yield from self.state.yarn.alive()

    def _wait_or_terminate(self) -> None:
        """After the last step, let the cluster wait, or end. Under the lock."""
        cluster = self.cluster
        raise_if_terminating(self.cluster)
        if cluster.active():
            return
        last = max((step for step in cluster.steps), key=lambda step: step.ended_s or 0, default=None)
        if not cluster.keep_alive:
            errors = any(step.state == "FAILED" for step in cluster.steps)
            with self.state.record():
                terminate(cluster, "ALL_STEPS_COMPLETED", f"Steps completed{' with errors' if errors else ''}")
            return
        if cluster.state == "RUNNING":
            how = "" if last is None else f" after last step {last.state.lower()}"
            with self.state.record():
                cluster.state, cluster.message = "WAITING", f"Cluster ready{how}."

    def _is_idle_for_too_long(self) -> bool:
        """Whether the auto-termination policy ends it. Under the lock."""
        cluster = self.cluster
        if cluster.idle_timeout_s is None or cluster.idle_since_s is None or cluster.protected or cluster.active():
            return False
        return self.state.clock() - cluster.idle_since_s >= cluster.idle_timeout_s

    def _terminate_if_idle(self) -> None:
        with self.state.record():
            if self._is_idle_for_too_long():
                message = f"Auto-termination: the cluster was idle for {self.cluster.idle_timeout_s} seconds"
                terminate(self.cluster, "ALL_STEPS_COMPLETED", message)

    def _clean_up(self) -> None:
        """Stop what runs, bring the last logs, leave the nodes empty."""
        cluster = self.cluster
        with self.state.record():
            cancel_pending(cluster, "Job terminated", now_s=self.state.clock())
        if self.resizer.is_alive():
            self.resizer.join()
        self.steps.kill_all()
        self.sessions.kill_all()
        if self._has_nodes():
            self.node_logs.push()
            for change in (NodeClient.stop_daemons, lambda node: node.reset(None)):
                try:
                    on_each({self.state.nodes[each.node] for each in cluster.instances}, change)
                except NodeError as error:
                    _LOG.warning("the nodes of %s are not left in order: %s", cluster.id, error)
        with self.state.record():
            cluster.state = "TERMINATED_WITH_ERRORS" if cluster.with_errors else "TERMINATED"
            cluster.ended_s = self.state.clock()
            cluster.idle_since_s = None

    def _has_nodes(self) -> bool:
        """Whether they are this cluster's, not still those of one before it."""
        with self.state.lock:
            earlier = itertools.takewhile(lambda each: each is not self.cluster, self.state.store.clusters.values())
            return all(each.ended_s is not None for each in earlier)
