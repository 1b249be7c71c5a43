"""The command line: `python -m launch run`, `demo`, `init`, `setup`, and the commands `emr-…`."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the half second that the rest takes: no traceback

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

from base import command_line, compose, proxies
from base.errors import EmrlabError
from base.paths import CACHE, SAMPLE
from launch import java, options
from launch.emr import command as emr
from pipeline import signals
from pipeline.patience import first_contact
from pipeline.settings import UsageError

# `demo` is `run` with these; what a user gives besides comes after them and holds.
DEMO = ("--input", str(SAMPLE), "--output", "out/demo", "--image-size", "100")


def main(argv: Sequence[str], *, prog: str = "python -m launch") -> int:
    """Run one command of `prog`; exit code 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C, 143 and 129
    for SIGTERM and SIGHUP.
    """
    first_contact()
    proxies.spare_this_machine()
    compose.forget_other_projects()
    if not os.environ.get("AWS_SESSION_TOKEN"):  # `make env` leaves it empty, and S3 would be sent an empty one
        os.environ.pop("AWS_SESSION_TOKEN", None)
    if argv[:1] == ["demo"]:
        argv = ["run", *DEMO, *argv[1:]]
    try:
        parsed = options.parse(_parser(prog), argv)
        return int(parsed.command(parsed))
    except UsageError as error:  # of the job's own settings
        return command_line.fail(str(error), exit_code=2)
    except (EmrlabError, OSError) as error:
        return command_line.fail(error)
    except KeyboardInterrupt as stopped:  # before the job has begun: it speaks for itself
        with suppress(OSError):  # the terminal is closed
            sys.stderr.write("error: stopped; run again\n")
        return signals.exit_code(stopped)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = command_line.Parser(prog=prog, description=__doc__, allow_abbrev=False)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND", parser_class=command_line.Parser))
    return parser


def add_commands(commands: argparse._SubParsersAction[command_line.Parser]) -> None:
    """Add the commands to the parser of a program."""
    run = commands.add_parser(
        "run",
        help="run a job: the image pipeline, or your own",
        description="Runs a job: your own, JOB with its arguments behind --, or without JOB the image pipeline: "
        "photographs in, results out.",
        usage="%(prog)s [--target local|lab] JOB [-- ARGUMENT …]\n"
        "       %(prog)s [--target local|lab] --input URI --output URI [FLAG]",
        allow_abbrev=False,
    )
    run.add_argument(
        "--target",
        type=_target,
        choices=["local", "lab"],
        default="local",
        help="where: on this machine's own Spark (local), or in the Docker lab that `make up` starts (lab)",
    )
    run.add_argument(
        "--explain", action="store_true", help="print the Spark settings and their reasons, and run nothing"
    )
    options.add_job_arguments(run)
    run.set_defaults(command=_run)
    commands.add_parser("demo", help="run the image pipeline on its sample photographs; flags as of run")
    init = commands.add_parser(
        "init",
        help="write a small job with its test into a folder",
        description="Writes a small job with its test into a folder; overwrites nothing.",
        allow_abbrev=False,
    )
    init.add_argument(
        "folder",
        nargs="?",
        type=command_line.path,
        default=".",
        metavar="FOLDER",
        help="made where it is missing (this one)",
    )
    init.set_defaults(command=_init)
    targets, of_emr = ["local", "lab", *emr.TARGETS], "the cluster of --target emr and emr-lab"
    where = (
        "where the work is done: on this machine's own Spark (local), in the Docker lab (lab), on Amazon EMR (emr), or "
        "as there in the EMR lab, which is free (emr-lab)"
    )
    session = commands.add_parser(
        "session",
        help="a Spark Connect session for an IDE",
        description="Opens a Spark Connect session, says how a client finds it, and ends it with Ctrl-C.",
        allow_abbrev=False,
    )
    session.add_argument("--target", choices=targets, default="local", help=where)
    options.add_conf_argument(session)
    emr.add_cluster_arguments(session.add_argument_group(of_emr))
    session.set_defaults(command=_session)
    notebook = commands.add_parser(
        "notebook",
        help="JupyterLab with a session",
        description="Opens notebooks/pipeline.ipynb in JupyterLab, beside a Spark Connect session that ends with it.",
        allow_abbrev=False,
    )
    notebook.add_argument("--target", choices=targets, default="local", help=where)
    options.add_notebook_arguments(notebook)
    emr.add_cluster_arguments(notebook.add_argument_group(of_emr))
    notebook.set_defaults(command=_notebook)
    setup = commands.add_parser(
        "setup",
        help="make ready: check Java, speed up its start",
        description="Checks Java and makes the archive that speeds up its start. Needed once.",
    )
    setup.set_defaults(command=_setup)
    emr.add_commands(commands)


def _target(text: str) -> str:
    if text in emr.TARGETS:
        raise argparse.ArgumentTypeError(
            f"{text} has clusters, which take the same as a step: make emr-run TARGET={text}"
        )
    return text


def _run(parsed: argparse.Namespace) -> int:
    from launch import declaration, run  # noqa: PLC0415 - the package and its ways, for who runs something

    job, conf_overrides = declaration.find(parsed, live=sys.stdout.isatty()), dict(parsed.conf)
    if parsed.explain:
        sys.stdout.write(run.explain(job, parsed.target, conf_overrides))
        return 0
    return run.in_lab(job, conf_overrides) if parsed.target == "lab" else run.here(job, conf_overrides)


def _init(parsed: argparse.Namespace) -> int:
    from launch import starter  # noqa: PLC0415

    names = starter.write(parsed.folder)
    job = shlex.quote(str(parsed.folder))
    text = (
        f"wrote {', '.join(map(str, names))}\n"
        f"run it here:       make run TARGET=local JOB={job}\n"
        f"and in the lab:    make up && make run TARGET=lab JOB={job}\n"
    )
    sys.stdout.write(command_line.typed(text))
    return 0


def _session(parsed: argparse.Namespace) -> int:
    from launch import session  # noqa: PLC0415 - as above

    return session.run(parsed)


def _notebook(parsed: argparse.Namespace) -> int:
    from launch import notebook  # noqa: PLC0415 - as above

    return notebook.run(parsed)


def _setup(_: argparse.Namespace) -> int:
    java.find()
    java.make_archive(CACHE)
    return 0


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signals.install_handlers()
    sys.exit(main(sys.argv[1:]))
