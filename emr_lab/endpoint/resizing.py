"""Brings a cluster's machines to the numbers that its groups or fleets are to have; in a thread beside the cluster's.

What is remembered says all: how many machines are wanted, which are there, on their way, or leaving. So a restart of
the endpoint goes on where it was, and a request may change its mind at any time.

What takes its time is done in threads, one a node: a machine that comes, or goes, keeps no other from its notice or its
end. What is to be done is decided by the one thread that looks at all of them again and again.

A node that leaves is decommissioned as EMR does it: YARN starts nothing more there and waits for what runs, Spark's
executors hand on what they keep, HDFS copies its blocks to other core nodes; it ends when both have done so. One that
is interrupted, as Amazon takes back spot machines, has the time from its notice on, and is switched off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from base.waiting import attempts
from emr_lab.endpoint import instances, logs, provisioning, scaling
from emr_lab.endpoint.nodes import LostError, NodeClient, NodeError, YarnNode
from emr_lab.endpoint.records import Cluster, Collection, Instance
from emr_lab.endpoint.state import ClosedError, EndpointState, TerminatingError, raise_if_terminating

# What YARN waits for what runs on a node that leaves.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-scaledown-behavior.html
DECOMMISSION_TIMEOUT_S = 3600
ARRIVAL_TIMEOUT_S = 600.0  # in which a node must have come
FAREWELL_S = 60.0  # in which YARN has given up a node that has ended
EVALUATION_INTERVAL_S = 5.0  # EMR evaluates every five to ten seconds

_LOG = logging.getLogger(__name__)


class Resizer:
    """Lets one cluster's machines come and go."""

    def __init__(
        self, state: EndpointState, cluster: Cluster, *, bucket: logs.LogBucket, node_logs: logs.NodeLogShipper
    ) -> None:
        self.state, self.cluster, self.bucket, self.node_logs = state, cluster, bucket, node_logs
        self.primary = state.nodes["primary"]
        # What YARN and HDFS were told last; None: not known, as after a restart of the endpoint.
        self.excluded: dict[str, int] | None = {} if cluster.state == "STARTING" else None
        self.damping = scaling.Damping()
        self.evaluated_s = 0.0
        self.work: dict[str, threading.Thread] = {}  # by the node that something is, or was, done to
        self.complaints: dict[str, str] = {}

    def run(self) -> None:
        """Go on until the cluster is to end or the endpoint stops, and what is being done to its nodes has ended."""
        try:
            while True:
                self._poll()
                self.state.pause(self.cluster)
        except (TerminatingError, ClosedError):
            return
        finally:
            for thread in self.work.values():
                thread.join()

    def _poll(self) -> None:
        """Begin what is to be done on the nodes to which nothing is being done."""
        with self.state.lock:
            machines = self.cluster.machines()
        for instance in machines:
            # First whether anything is being done: what that changes is seen then.
            if not self._is_busy(instance.node) and (act := self._next_act(instance)):
                self._begin(instance.node, partial(act, instance))
        if not self._is_busy(self.primary.name):
            self._begin(self.primary.name, self._manage)

    def _next_act(self, instance: Instance) -> Callable[[Instance], None] | None:
        """Return what is to be done to a machine now."""
        now_s = self.state.clock()
        with self.state.lock:
            if instance.ended_s is not None:
                return None
            if instance.notice_s is not None and now_s >= instance.notice_s and not instance.noticed:
                return self._give_notice
            if instance.taken_s is not None and now_s >= instance.taken_s:
                return self._take_away
            if instance.leaving_s is not None:
                return None if instance.noticed else self._see_off
            # Daemons that YARN and HDFS are to do without would not start.
            may_come = self.excluded is not None and instance.node not in self.excluded
            return self._join if may_come and not instance.joined else None

    def _is_busy(self, node: str) -> bool:
        return node in self.work and self.work[node].is_alive()

    def _begin(self, node: str, act: Callable[[], None]) -> None:
        name = f"{self.cluster.id}-resizer-{node}"
        self.work[node] = threading.Thread(target=self._do, args=(node, act), name=name, daemon=True)
        self.work[node].start()

    def _do(self, node: str, act: Callable[[], None]) -> None:
        try:
            act()
        except NodeError as error:
            self._complain(node, f"{error}; it is tried again")
        except (TerminatingError, ClosedError):
            return

    def _manage(self) -> None:
        """Decide how many machines there are to be, and which; let YARN and HDFS know it."""
        self._plan()
        self._tell_masters()
        self._scale()

    def _plan(self) -> None:
        """Decide which machines come and which leave."""
        nodes: Mapping[str, YarnNode] = {}
        masters: set[str] = set()
        with self.state.lock:
            surplus = [
                len(self._staying(each, spot=spot)) - count
                for each in self.cluster.collections
                for spot, count in instances.wanted(each).items()
            ]
        if not any(surplus):
            return
        shrinks = max(surplus) > 0
        if shrinks:
            nodes, masters = self.state.yarn.nodes(), self.state.yarn.masters()
        with self.state.record():
            raise_if_terminating(self.cluster)
            for collection in self.cluster.collections:
                for spot, count in instances.wanted(collection).items():
                    staying = self._staying(collection, spot=spot)
                    if len(staying) < count:
                        self._enlarge(collection, spot=spot, missing=count - len(staying))
                    elif shrinks:
                        # First those that run the least, and none with an application's master if it can be helped.
                        staying.sort(key=lambda each: (each.node in masters, _containers(nodes, each), each.joined))
                        for instance in staying[: len(staying) - count]:
                            self._decommission(collection, instance)

    def _staying(self, collection: Collection, *, spot: bool) -> list[Instance]:
        """Return the machines of a group or fleet that are there to stay, the newest first. Under the lock."""
        machines = [each for each in self.cluster.machines() if each.collection == collection.id and each.spot == spot]
        return [each for each in reversed(machines) if each.leaving_s is None]

    def _enlarge(self, collection: Collection, *, spot: bool, missing: int) -> None:
        """Keep machines that are leaving after all, and ask for others. Under the lock."""
        machines = self.cluster.machines()
        for instance in machines:
            if (
                missing
                and instance.leaving_s is not None
                and not instance.noticed
                and (instance.collection, instance.spot) == (collection.id, spot)
            ):
                instance.leaving_s = None
                missing -= 1
                self._tell(f"{instance.node} ({instance.ec2}) stays after all")
        now_s = self.state.clock()
        if collection.stopped or now_s < self.cluster.no_machines_until_s:
            return
        used = {each.node for each in machines}
        free = [name for name in self.state.capabilities.cores if name not in used and not self._is_busy(name)]
        for node in free[:missing]:
            instance = instances.new(collection, node=node, spot=spot)
            instance.state, instance.created_s = "PROVISIONING", now_s
            self.cluster.instances.append(instance)
            self._tell(f"{node} ({instance.ec2}) comes to {collection.id} ({collection.role})")

    def _decommission(self, collection: Collection, instance: Instance) -> None:
        """Begin to do without a machine. Under the lock."""
        instance.leaving_s = self.state.clock()
        given_s = collection.decommission_timeout_s
        instance.timeout_s = DECOMMISSION_TIMEOUT_S if given_s is None else given_s
        self._tell(f"{instance.node} ({instance.ec2}) leaves {collection.id} ({collection.role})")

    def _give_notice(self, instance: Instance) -> None:
        """Tell a machine that it will be taken away."""
        taken_s = instance.taken_s or 0.0
        try:
            self.state.nodes[instance.node].interrupt(time_s=taken_s)
        except NodeError as error:
            self._complain(instance.node, f"{instance.node} has not got its notice: {error}")
        with self.state.record():
            now_s = self.state.clock()
            instance.noticed, instance.leaving_s = True, instance.leaving_s or now_s
            instance.timeout_s = max(0, int(taken_s - now_s))
            self.cluster.no_machines_until_s = instance.replaceable_s or 0.0
        self._tell(f"{instance.node} ({instance.ec2}) is interrupted: it goes in {instance.timeout_s} s")

    def _tell_masters(self) -> None:
        """Let YARN and HDFS do without the machines that leave or have left, and take in the others."""
        excluded: dict[str, int] = {}
        with self.state.lock:
            for instance in self.cluster.instances:
                if instance.node == self.primary.name:
                    continue
                if instance.ended_s is not None:
                    excluded[instance.node] = 0
                elif instance.leaving_s is not None and instance.joined:
                    excluded[instance.node] = instance.timeout_s
                else:  # one that leaves before it has come: its daemons would not start
                    excluded.pop(instance.node, None)
        if excluded != self.excluded:
            self.primary.decommission(excluded)
            self._bring_back(excluded)
            self.excluded = excluded

    def _bring_back(self, excluded: Mapping[str, int]) -> None:
        """Start anew what YARN has ended on machines that were to leave and stay after all."""
        with self.state.lock:
            back = {
                each.node: instances.keeps_data(each, self.cluster)
                for each in self.cluster.machines()
                if each.joined and each.node != self.primary.name and each.node not in excluded
            }
        for node, data in back.items():
            if self.excluded is None or node in self.excluded:
                self.state.nodes[node].start_daemons(data=data)

    def _see_off(self, instance: Instance) -> None:
        """End a machine that leaves, once it has nothing left to do."""
        if self._has_finished(instance):
            self._say_goodbye(instance)

    def _has_finished(self, instance: Instance) -> bool:
        """Whether nothing runs on a machine that leaves, and no block of HDFS is there alone."""
        if not instance.joined:
            return True
        node = self.state.yarn.nodes().get(instance.node)
        if node is not None and (node.state != "DECOMMISSIONING" or node.containers):
            return False
        with self.state.lock:
            has_data = instances.keeps_data(instance, self.cluster)
        return not has_data or self.primary.datanodes().get(instance.node) == "Decommissioned"

    def _say_goodbye(self, instance: Instance) -> None:
        """End a machine that has been decommissioned."""
        self.node_logs.push()
        with self.state.lock:
            if instance.leaving_s is None:  # it stays after all
                return
            self._end(instance, "", "The instance was decommissioned, for its group or fleet was resized.")
        self._clear(self.state.nodes[instance.node])
        self._wait_until_gone(instance.node)

    def _wait_until_gone(self, node: str) -> None:
        """Wait until YARN has given up the node: taken in at once, it would count with what ran there before."""
        for _ in attempts(timeout_s=FAREWELL_S, interval_s=0):
            if node not in self.state.yarn.nodes():
                return
            self.state.pause(self.cluster)

    def _take_away(self, instance: Instance) -> None:
        """End a machine as Amazon does, when its time has come."""
        # First: whoever finds the node without a cluster would take the cluster for lost.
        self._end(instance, "INSTANCE_FAILURE", f"Spot instance {instance.ec2} was interrupted: Amazon took it back.")
        try:
            self.state.nodes[instance.node].power_off()
        except NodeError as error:
            self._complain(instance.node, f"{instance.node} was not switched off: {error}")
        self._wait_until_gone(instance.node)

    def _join(self, instance: Instance) -> None:
        """Bring a machine from PROVISIONING to RUNNING; one that does not come in time, or fails, stops its group."""
        node, created_s = self.state.nodes[instance.node], instance.created_s or 0.0
        try:
            provisioning.reset([node], self.cluster, self.state.capabilities.release)
            self._set_state(instance, "BOOTSTRAPPING")
            provisioning.bootstrap(self.state, self.cluster, {node: instance}, self.bucket)
            node.start_daemons(data=instances.keeps_data(instance, self.cluster))
        except LostError as error:
            if self.state.clock() - created_s < ARRIVAL_TIMEOUT_S:
                raise
            self._stop(instance, "INSTANCE_FAILURE", f"{error} after {ARRIVAL_TIMEOUT_S:.0f} s")
        except provisioning.BootstrapError as error:
            self._stop(instance, "BOOTSTRAP_FAILURE", f"On instance {instance.ec2}, {error}")
        except NodeError as error:
            self._stop(instance, "INTERNAL_ERROR", str(error))
        else:
            self._set_state(instance, "RUNNING")
            self._tell(f"{instance.node} ({instance.ec2}) has come")

    def _set_state(self, instance: Instance, name: str) -> None:
        with self.state.record():
            raise_if_terminating(self.cluster)
            instance.state = name
            if name == "RUNNING":
                instance.ready_s = self.state.clock()

    def _stop(self, instance: Instance, code: str, message: str) -> None:
        """End a machine that did not come to run, and ask for no other until the group or fleet is modified."""
        with self.state.record():
            collection = self.cluster.collection(instance.collection)
            if collection is not None:
                collection.stopped = message
        self._end(instance, code, message)
        self._clear(self.state.nodes[instance.node])

    def _end(self, instance: Instance, code: str, message: str) -> None:
        with self.state.record():
            instance.ended_s, instance.code, instance.message = self.state.clock(), code, message
        self._tell(f"{instance.node} ({instance.ec2}) has ended: {message}")

    def _clear(self, node: NodeClient) -> None:
        """Leave nothing running on a node that has left; the next cluster that gets it empties it anyway."""
        try:
            node.stop_daemons()
            node.reset(None)
        except NodeError as error:
            self._complain(node.name, f"{node.name} is not left in order: {error}")

    def _scale(self) -> None:
        """Let a managed scaling policy decide on one machine more or less."""
        now_s = self.state.clock()
        with self.state.lock:
            policy = self.cluster.scaling
            settled = all(each.joined and each.leaving_s is None for each in self.cluster.machines())
        if policy is None or not settled:
            self.damping.calm()
            return
        if now_s - self.evaluated_s < EVALUATION_INTERVAL_S:
            return
        self.evaluated_s = now_s
        nodes = self.state.yarn.nodes()
        change = self.damping.change(self.state.yarn.load(), nodes.values(), now_s=now_s)
        with self.state.record():
            raise_if_terminating(self.cluster)
            if self.cluster.scaling is None:
                return
            asked, collections = scaling.limits(self.cluster.scaling), self.cluster.collections
            core_minimum = scaling.replication(self.cluster.request.get("Configurations", []))
            cores = len(self.state.capabilities.cores)
            changed = scaling.fit(collections, asked, cores=cores, core_minimum=core_minimum)
            if not changed and change > 0:
                changed = scaling.grow(collections, asked, cores=cores)
            elif not changed and change < 0:
                changed = scaling.shrink(collections, asked, core_minimum=core_minimum)
        if changed:
            self.damping.calm()

    def _tell(self, message: str) -> None:
        _LOG.info("cluster %s: %s", self.cluster.id, message)

    def _complain(self, node: str, message: str) -> None:
        """Log what goes wrong with a node, once."""
        if message != self.complaints.get(node):
            _LOG.warning("cluster %s: %s", self.cluster.id, message)
        self.complaints[node] = message


def _containers(nodes: Mapping[str, YarnNode], instance: Instance) -> int:
    node = nodes.get(instance.node)
    return 0 if node is None else node.containers
