"""Runs a cluster's steps on its primary node: starts them in their order, follows, cancels, acts on their failure."""

from __future__ import annotations

import gzip
import time
from contextlib import suppress
from dataclasses import dataclass

from emr_lab.endpoint import commands, logs
from emr_lab.endpoint.nodes import LostError, NodeClient, NodeError, UnknownError
from emr_lab.endpoint.records import Cluster, Step, new_id
from emr_lab.endpoint.state import EndpointState, cancel_pending, raise_if_terminating, terminate

LOG_INTERVAL_S = 2.0  # between two pushes of a running step's logs: EMR takes five minutes
CONTAINER_LOG_INTERVAL_S = 10.0  # the same of its containers' logs
KILL_TIMEOUT_S = 30.0  # until a killed process must be gone; its node waits ten


@dataclass
class RunningStep:
    """A step's process, its logs, and when they were pushed last."""

    step: Step
    argv: list[str]
    streams: list[logs.IncrementalLog]
    pushed_s: float = 0.0
    killed: bool = False


class StepRunner:
    """Runs the steps of one cluster; to be used by its thread alone."""

    def __init__(
        self,
        state: EndpointState,
        cluster: Cluster,
        *,
        primary: NodeClient,
        bucket: logs.LogBucket,
        nodes: logs.NodeLogShipper,
    ) -> None:
        self.state, self.cluster, self.primary, self.bucket, self.node_logs = state, cluster, primary, bucket, nodes
        self.running: list[RunningStep] = []
        self.containers_s = 0.0

    def resume(self) -> None:
        """Take up the steps that ran when the endpoint stopped."""
        with self.state.lock:
            for step in self.cluster.steps:
                if step.state in {"RUNNING", "CANCEL_PENDING"}:
                    argv: list[str] = []
                    with suppress(commands.CommandError):  # the endpoint stopped before it could say so
                        argv = commands.step_command(step, self.cluster)
                    self.running.append(RunningStep(step, argv, self._streams(step)))

    def poll(self) -> None:
        """See which steps have ended or are to be killed, and bring their logs.

        Raises:
            NodeError: the primary does not answer.
        """
        for running in list(self.running):
            self._poll(running)

    def start(self) -> None:
        """Start the steps that wait, as many as may run at once.

        Raises:
            TerminatingError: the cluster is to end.
        """
        while len(self.running) < self.cluster.concurrency and (step := self._next()):
            self._start_step(step)

    def kill_all(self) -> None:
        """Kill all steps that run, bring their last logs, and mark them as cancelled."""
        deadline = time.monotonic() + KILL_TIMEOUT_S
        for running in self.running:
            with suppress(NodeError):
                self._kill(running.step)
        for running in self.running:
            step, code = running.step, None
            with suppress(NodeError):
                while code is None and time.monotonic() < deadline:
                    code = self.primary.exit_code(step.process or "")
                    time.sleep(self.state.tick_s)
                for stream in running.streams:
                    stream.push()
            self._log(step, running.argv, code=code or 1)
        self.running.clear()
        with self.state.record():
            for step in self.cluster.active():
                step.state, step.message, step.ended_s = "CANCELLED", "Job terminated", self.state.clock()

    def _next(self) -> Step | None:
        """Take the next step that waits, if any, and save that it runs: where that cannot be, it might run twice."""
        with self.state.lock:
            raise_if_terminating(self.cluster)
            step = next((each for each in self.cluster.steps if each.state == "PENDING"), None)
            if step is None:  # at most polls: two months of clusters are not gone through for it
                return None
            try:
                with self.state.change():
                    step.state, step.started_s, step.process = "RUNNING", self.state.clock(), new_id("p")
                    self.cluster.state, self.cluster.message = "RUNNING", "Running step"
                    self.cluster.idle_since_s = None
            except OSError:
                return None
            return step

    def _poll(self, running: RunningStep) -> None:
        step = running.step
        if step.state == "CANCEL_PENDING" and not running.killed:
            self._kill(step)
            running.killed = True
        try:
            code = self.primary.exit_code(step.process or "")
        except UnknownError:
            with self.state.record():
                cause = "the primary node was restarted, or could not be reached when the step was started"
                self._done(step, 1, stderr=f"error: the step's process is gone, or never was: {cause}")
            self.running.remove(running)
            return
        if code is None:
            self._push(running)
            return
        for stream in running.streams:
            stream.push()
        self.node_logs.push()
        self._log(step, running.argv, code=code)
        with self.state.record():
            stdout, stderr = (stream.tail.decode(errors="replace") for stream in running.streams)
            self._done(step, code, stdout=stdout, stderr=stderr)
        self.running.remove(running)

    def _push(self, running: RunningStep) -> None:
        now = time.monotonic()
        if now - running.pushed_s > LOG_INTERVAL_S:
            running.pushed_s = now
            for stream in running.streams:
                stream.push()
        if now - self.containers_s > CONTAINER_LOG_INTERVAL_S:
            self.containers_s = now
            self.node_logs.push()

    def _done(self, step: Step, code: int, *, stderr: str, stdout: str = "") -> None:
        """Give the step its last state, and do what its failure asks for. Under the lock."""
        step.ended_s = self.state.clock()
        self.cluster.idle_since_s = None
        if code == 0:
            step.state, step.message = "COMPLETED", ""
            return
        if step.state == "CANCEL_PENDING":
            step.state, step.message = "CANCELLED", "Cancelled by user"
            return
        log = f"{self.cluster.logs}/steps/{step.id}" if self.cluster.logs else None
        step.state, step.failure = "FAILED", commands.failure_details(code, stdout=stdout, stderr=stderr, log=log)
        # https://docs.aws.amazon.com/emr/latest/APIReference/API_StepConfig.html
        if self.cluster.concurrency > 1 or step.action_on_failure == "CONTINUE":
            return
        cancel_pending(self.cluster, f"The step {step.id} failed", now_s=step.ended_s)
        if step.action_on_failure == "TERMINATE_CLUSTER" and not self.cluster.protected:
            terminate(self.cluster, "STEP_FAILURE", "Shut down as step failed", with_errors=True)

    def _kill(self, step: Step) -> None:
        """End the step's process, then the YARN applications that it started: from then on there come no more."""
        if step.process:
            with suppress(UnknownError):
                self.primary.kill(step.process)
        with suppress(LostError):
            for application in self.state.yarn.alive(commands.yarn_tag(step)):
                self.state.yarn.kill(application)

    def _start_step(self, step: Step) -> None:
        try:
            argv = commands.step_command(step, self.cluster)
            with suppress(LostError):  # it may run all the same: the next poll knows
                self.primary.start(
                    argv, env=commands.environment(step), logs=f"{logs.STEPS}{step.id}", process=step.process
                )
        except (NodeError, commands.CommandError) as error:
            for name in ("stdout", "syslog"):
                self._put(step, name, b"")
            self._put(step, "stderr", f"{error}\n".encode())
            self._log(step, [], code=1)
            with self.state.record():
                self._done(step, 1, stderr=f"error: {error}")
            return
        self._log(step, argv)
        self._put(step, "syslog", b"")  # what the Hadoop runner around a program of EMR says
        self.running.append(RunningStep(step, argv, self._streams(step)))

    def _streams(self, step: Step) -> list[logs.IncrementalLog]:
        return logs.of_process(self.bucket, f"steps/{step.id}", self.primary, step.process or "")

    def _log(self, step: Step, argv: list[str], *, code: int | None = None) -> None:
        """Put the step's log `controller`."""
        note = commands.release_note(self.cluster, self.state.capabilities.release)
        content = commands.controller_log(step, argv, note=note, code=code, now_s=self.state.clock())
        self._put(step, "controller", content)

    def _put(self, step: Step, name: str, content: bytes) -> None:
        self.bucket.put(f"steps/{step.id}/{name}", gzip.compress(content, mtime=0))
