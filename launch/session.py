"""A session of Spark Connect: where it answers, what a client must know of it; `make session` keeps one open."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base import proxies
from base.errors import EmrlabError
from base.paths import CACHE
from launch import connect_server
from launch.emr import command
from pipeline import signals

if TYPE_CHECKING:
    from launch.emr.run_spec import SessionSpec
    from launch.job import Job

URL, TOKEN, PYTHON = "SPARK_REMOTE", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "EMRLAB_PYTHON"
CLUSTER = "EMRLAB_CLUSTER"  # of sessions on EMR alone
WATCH_S = 1.0
WATCH_EMR_S = 15.0  # EMR throttles who asks every second


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open session.

    Attributes:
        where: it is, in words.
        python: the minor version of the nodes' Python, like 3.11: that of a client whose functions run there.
        spark: the version of its server, like 4.1.1: that of a client which asks for nothing that it has not.
        slots: so many tasks run at a time, at most.
        environment: the variables that a client needs, its token among them; and where this process knows a proxy,
            those by which a session of this machine is reached without it.
        is_open: whether its server is still there.
        watch_s: seconds between two such looks.
    """

    where: str
    python: str
    spark: str
    slots: int
    environment: Mapping[str, str]
    is_open: connect_server.Look
    watch_s: float


def spec_on_emr(parsed: argparse.Namespace, job: Job | None = None) -> SessionSpec | None:
    """What a command line asks of EMR, its price agreed to; None where its target is none of EMR's.

    Args:
        parsed: the command line.
        job: whose inputs are to be sent, too.

    Raises:
        UsageError, EmrError: see `launch.emr.session_plan.agreed`; or a flag is not of this target.
    """
    if parsed.target not in command.TARGETS:
        command.check_no_cluster(parsed)
        return None
    from launch.emr import session_plan  # noqa: PLC0415 - boto3 takes a third of a second

    return session_plan.agreed(parsed, job)


@contextmanager
def started(
    target: str,
    *,
    conf_overrides: Mapping[str, str],
    locations: tuple[str, ...] = (),
    spec: SessionSpec | None = None,
) -> Iterator[Session]:
    """A session on `target`, ended when the body is left, whatever ends it.

    Args:
        target: `local` or `lab`; of EMR's, the `spec` says which.
        conf_overrides: Spark's settings in place of the target's own.
        locations: that are to be read and written; those in S3 take its jars along on this machine.
        spec: of a session on EMR, as `spec_on_emr` finds it.

    Raises:
        UsageError: the target cannot open one as it is.
        SessionError, EmrError: the server does not start.
    """
    direct = {} if target == "emr" else proxies.sparing()
    if spec is not None:
        from launch.emr import sessions  # noqa: PLC0415 - as above

        with sessions.opened(spec, show=_say) as opened:
            yield Session(
                where=opened.where,
                python=opened.python,
                spark=opened.spark,
                slots=opened.slots,
                environment={**opened.environment, PYTHON: opened.python, **direct},
                is_open=opened.is_open,
                watch_s=WATCH_EMR_S,
            )
        return
    start = connect_server.lab if target == "lab" else connect_server.local
    with start(conf_overrides, locations) as server:
        yield Session(
            where=server.where,
            python=server.python,
            spark=server.spark,
            slots=server.slots,
            environment={
                # By this name alone, of those that mean this machine, the client sends a token without TLS.
                URL: f"sc://localhost:{server.port}",
                TOKEN: server.token,
                PYTHON: server.python,
                **direct,
            },
            is_open=server.is_open,
            watch_s=WATCH_S,
        )


def run(parsed: argparse.Namespace) -> int:
    """Keep a session open until Ctrl-C, and say how a client finds it; the token is in a file, and in no output.

    Raises:
        UsageError, SessionError, EmrError: see `spec_on_emr` and `started`; the session ends by itself.
    """
    spec, overrides = spec_on_emr(parsed), dict(parsed.conf)
    with (
        started(parsed.target, conf_overrides=overrides, spec=spec) as session,
        _written(session, parsed.target) as file,
    ):
        sys.stdout.write(_words(session, file))
        sys.stdout.flush()
        try:
            while session.is_open():
                time.sleep(session.watch_s)
        except KeyboardInterrupt as stopped:
            return ended(stopped)
    raise EmrlabError("the session's server has ended, as where memory runs out; run: make session")


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal is closed: what ends a session goes on
        sys.stderr.write(f"{line}\n")


def ended(stopped: KeyboardInterrupt) -> int:
    """The exit code of what goes on until it is stopped: for Ctrl-C, which is how it ends, 0."""
    return signals.exit_code(stopped) if isinstance(stopped, signals.Stopped) else 0


def _words(session: Session, file: Path) -> str:
    shown = shlex.quote(os.path.relpath(file))
    hour = "the token is good for an hour; docs/sessions.md shows how a program renews it\n"
    lasts = hour if CLUSTER in session.environment else ""
    return (
        f"a session on {session.where}, until Ctrl-C; its nodes run Python {session.python}\n"
        f"its client is pyspark-client=={session.spark}, which needs no Java\n"
        f"its address and token are in {file}, for your eyes only\n{lasts}\n"
        f"  in another terminal:   set -a; . {shown}; set +a\n"
        "  then, in Python:       SparkSession.builder.getOrCreate()\n"
        f'  in an IDE:             that file as "envFile"; docs/sessions.md shows where\n'
    )


@contextmanager
def _written(session: Session, target: str) -> Iterator[Path]:
    """The variables in a file that its owner alone can read: the newest session's, and gone with it.

    Quoted where a shell needs it, which would else end an address of EMR's at its first `;` and take what follows for
    commands; IDEs take the quotes off.
    """
    folder = CACHE / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in session.environment.items())
    descriptor, half = tempfile.mkstemp(dir=folder, prefix=f"{target}-")  # 0600
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    file = Path(half).replace(folder / f"{target}.env")
    try:
        yield file
    finally:
        with suppress(FileNotFoundError):
            if file.read_text() == text:
                file.unlink()
