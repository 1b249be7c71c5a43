"""Runs a cluster's sessions: submits their servers to YARN, follows them, ends those that are idle or are to end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from emr_lab.endpoint import commands, logs, session_requests, tokens
from emr_lab.endpoint.nodes import Application, LostError, NodeClient, NodeError, UnknownError
from emr_lab.endpoint.records import ENDED, Cluster, Session
from emr_lab.endpoint.state import EndpointState

START_TIMEOUT_S = 900.0  # from StartSession until the server answers
INTERVAL_S = 2.0  # between two looks at a server
LOG_INTERVAL_S = 10.0  # between two pushes of its logs
QUIET_S = 2 * INTERVAL_S  # after a call, until a server without a job is idle
CONNECT_TIMEOUT_S = 1.0
KILL_TIMEOUT_S = 30.0  # until YARN must have ended an application


class SessionRunner:
    """Runs the sessions of one cluster; to be used by its thread alone."""

    def __init__(
        self,
        state: EndpointState,
        cluster: Cluster,
        *,
        primary: NodeClient,
        nodes: Callable[[], Collection[NodeClient]],
    ) -> None:
        self.state, self.cluster, self.primary, self.nodes = state, cluster, primary, nodes
        self._seen_s: dict[str, float] = {}
        self._pushed_s: dict[str, float] = {}
        self._logs: dict[str, logs.SessionLogShipper] = {}
        self._swept_s = 0.0

    def resume(self) -> None:
        """Take up the sessions that were there when the endpoint stopped."""
        for session in self.cluster.live_sessions():
            self.state.called_s[session.id] = self.state.clock()  # who calls meanwhile is not known
            if session.process is None and session.state != "TERMINATING":
                self._enter(session, "FAILED", "The lab's endpoint was restarted while it submitted the session.")

    def poll(self) -> None:
        """See how the sessions are, and act on it; what does not answer is asked again at the next poll."""
        for session in self.cluster.live_sessions():
            with suppress(LostError):
                self._poll(session)
        if time.monotonic() - self._swept_s >= INTERVAL_S and self.cluster.sessions:
            self._swept_s = time.monotonic()
            with suppress(LostError):
                self._sweep()

    def kill_all(self) -> None:
        """End all sessions with their cluster."""
        sessions = self.cluster.live_sessions()
        deadline = time.monotonic() + KILL_TIMEOUT_S
        for session in sessions:
            with suppress(NodeError):
                self._kill(session)
        for session in sessions:
            with suppress(NodeError):
                while self._kill(session) and time.monotonic() < deadline:
                    time.sleep(self.state.tick_s)
            self._push(session)
            state = "FAILED" if self.cluster.with_errors else "TERMINATED"
            self._enter(session, state, f"Cluster {self.cluster.id} ended: {self.cluster.message}")

    def _poll(self, session: Session) -> None:
        if session.state == "TERMINATING":
            if not self._kill(session):
                self._push(session)
                self._enter(session, "TERMINATED", session.message)
        elif session.process is None:
            self._submit(session)
        elif time.monotonic() - self._seen_s.get(session.id, 0.0) >= (INTERVAL_S if session.server else 0.0):
            self._seen_s[session.id] = time.monotonic()
            if session.server:
                self._follow(session)
            else:
                self._follow_start(session)

    def _submit(self, session: Session) -> None:
        try:
            process = self.primary.start(
                commands.session_command(session),
                env=commands.session_environment(tokens.server_token(self.state.token_key, session.id)),
                logs=f"{logs.SESSIONS}{session.id}",
            )
        except LostError:
            raise
        except NodeError as error:
            self._enter(session, "FAILED", f"The server could not be submitted: {error}")
            return
        with self.state.record():
            session.process = process

    def _follow_start(self, session: Session) -> None:
        try:
            code = self.primary.exit_code(session.process or "")  # first: who has ended has told YARN before
        except UnknownError:
            self._fail(session, "The primary node was restarted while it submitted the session.")
            return
        application = self.state.yarn.find(commands.session_tag(session))
        if application is not None and session.application != application.id:
            with self.state.record():
                session.application = application.id  # also of one that fails: its logs say why
        if application is None and code is not None:
            self._fail(session, f"The server could not be submitted: {self._submission_error(session, code)}")
        elif application is not None and application.ended:
            self._fail(session, _end_of(application))
        elif self.state.clock() - session.created_s > START_TIMEOUT_S:
            found = "has not got it, spark-submit still runs" if application is None else application.diagnostics
            self._fail(session, f"Not started after {START_TIMEOUT_S:.0f} s. YARN: {found}")
        elif application is None:
            return
        elif not application.host:
            self._enter(session, "SUBMITTED", f"YARN has no room yet: {application.diagnostics}")
        elif application.state == "RUNNING" and _answers(application.host, session.port):
            with self.state.record():
                session.server = f"{application.host}:{session.port}"
                session.started_s = self.state.clock()
                self.state.called_s.setdefault(session.id, 0.0)
            self._enter(session, "STARTED", "The Spark Connect server is ready.")
        else:
            self._enter(session, "STARTING", "The Spark Connect server is starting.")

    def _submission_error(self, session: Session, code: int) -> str:
        end = {"offset": -logs.TAIL_BYTES, "most": logs.TAIL_BYTES}
        stderr = self.primary.output(session.process or "", "stderr", **end)
        return commands.error_line(stderr.decode(errors="replace")) or f"spark-submit ended with exit code {code}"

    def _follow(self, session: Session) -> None:
        application = self.state.yarn.find(commands.session_tag(session))
        if application is None or application.ended:
            self._fail(session, "YARN does not know it any more." if application is None else _end_of(application))
            return
        now_s = self.state.clock()
        if now_s - self.state.called_s.get(session.id, 0.0) < QUIET_S or self._runs_jobs(session, application):
            self._enter(session, "BUSY", "The session runs a query.")
        else:
            self._enter(session, "IDLE", "The session waits for a query.")
        timeout_s = session_requests.idle_timeout_s(session)
        if session.idle_since_s is not None and now_s - session.idle_since_s >= timeout_s:
            self._enter(session, "TERMINATING", f"Idle for {timeout_s / 60:.0f} minutes, its idle timeout")
        elif time.monotonic() - self._pushed_s.get(session.id, 0.0) >= LOG_INTERVAL_S:
            self._push(session)

    def _runs_jobs(self, session: Session, application: Application) -> bool:
        with suppress(LostError):
            return self.state.yarn.runs_jobs(application.id)
        return session.state == "BUSY"  # its pages do not answer: what was so is taken to be so

    def _fail(self, session: Session, message: str) -> None:
        """Give the session its end, and leave nothing of it in YARN."""
        self._kill(session)
        self._push(session)
        self._enter(session, "FAILED", message)

    def _kill(self, session: Session) -> bool:
        """End what runs of the session; whether there was anything."""
        alive = False
        with suppress(UnknownError):
            if session.process and self.primary.exit_code(session.process) is None:
                alive = True
                self.primary.kill(session.process)
        for application in self.state.yarn.alive(commands.session_tag(session)):
            alive = True
            self.state.yarn.kill(application)
        return alive

    def _sweep(self) -> None:
        """End the servers of sessions that have ended: one may reach YARN after its session was given up."""
        for session in self.cluster.sessions:
            if session.state in ENDED and self.state.clock() - (session.ended_s or 0.0) < START_TIMEOUT_S:
                self._kill(session)

    def _enter(self, session: Session, state: str, message: str) -> None:
        """Change the state, unless a request to end it came meanwhile."""
        with self.state.lock:
            if session.state == "TERMINATING" and state not in ENDED:
                return
            if session.state in ENDED or (session.state, session.message) == (state, message):
                return
            with self.state.record():
                session.enter(state, message, now_s=self.state.clock())

    def _push(self, session: Session) -> None:
        """Bring the logs that S3LoggingConfiguration wants."""
        uri = session_requests.log_uri(session)
        if uri is None or session.application is None:
            return
        if session.id not in self._logs:
            place = f"s3://{uri.partition('://')[2].rstrip('/')}/{self.cluster.id}/sessions/{session.id}"
            self._logs[session.id] = logs.SessionLogShipper(logs.LogBucket(self.state.s3, place), self.nodes)
        self._pushed_s[session.id] = time.monotonic()
        self._logs[session.id].push(session.application, session_requests.log_types(session))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _end_of(application: Application) -> str:
    return (
        f"The Spark Connect server ended, in YARN {application.state}: {application.diagnostics or 'no reason given'}"
    )
