"""The command line: `python -m launch run`, `demo`, `setup`, and the commands `emr-…`."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the half second that the rest takes: no traceback

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from base import command_line, paths
from base.defaults import BUCKET
from base.errors import EmrlabError
from base.paths import CACHE
from launch import docker_lab, image_job, jars, java, package, submit, targets, transfer
from launch.emr import command as emr
from launch.image_job import ImageJob
from launch.options import add_model_arguments
from pipeline import signals
from pipeline.patience import first_contact
from pipeline.settings import UsageError, add_arguments

# `demo` is `run` with these; what a user gives besides comes after them and holds.
DEMO = ("--input", str(paths.SAMPLE), "--output", "out/demo", "--image-size", "100")
ENDS = (0, 1, 2, 129, 130, 143)  # of the job itself, which has said why


def main(argv: Sequence[str], *, prog: str = "python -m launch") -> int:
    """Run one command of `prog`; exit code 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C, 143 and 129
    for SIGTERM and SIGHUP.
    """
    first_contact()
    if argv[:1] == ["demo"]:
        argv = ["run", *DEMO, *argv[1:]]
    try:
        parsed = _parser(prog).parse_args(argv)
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
        "run", help="run the job", description="Runs the job: photographs in, results out.", allow_abbrev=False
    )
    run.add_argument(
        "--target",
        choices=["local", "lab"],
        default="local",
        help="where: on this machine's own Spark (local), or in the Docker lab that `make up` starts (lab)",
    )
    add_arguments(run)
    add_model_arguments(run)
    run.add_argument(
        "--explain", action="store_true", help="print the Spark settings and their reasons, and run nothing"
    )
    run.set_defaults(command=_run)
    commands.add_parser("demo", help="run the image pipeline on its sample photographs; flags as of run")
    setup = commands.add_parser(
        "setup",
        help="make ready: check Java, speed up its start",
        description="Checks Java and makes the archive that speeds up its start. Needed once.",
    )
    setup.set_defaults(command=_setup)
    emr.add_commands(commands)


def _run(parsed: argparse.Namespace) -> int:
    job = image_job.from_flags(parsed, live=sys.stdout.isatty())
    run = _run_in_lab if parsed.target == "lab" else _run_here
    return run(job, dict(parsed.conf), explain=parsed.explain)


def _run_here(job: ImageJob, conf_overrides: Mapping[str, str], *, explain: bool) -> int:
    settings = job.settings
    conf = targets.local([settings.input, settings.output], conf_overrides)
    if explain:
        sys.stdout.write(targets.explain(conf))
        return 0
    java.find()
    settings = replace(settings, model=str(image_job.build_model(job).path))
    on_s3 = any(location.startswith("s3://") for location in (settings.input, settings.output))
    built, s3a = package.build(CACHE), jars.s3a_jars(CACHE) if on_s3 else ()
    return submit.run_local(
        submit.local(built, job_args=settings.to_args(), conf=conf, cache=CACHE, jars=s3a, verbose=settings.verbose)
    )


def _run_in_lab(job: ImageJob, conf_overrides: Mapping[str, str], *, explain: bool) -> int:
    """What can be wrong is looked at before a model is built or an image sent."""
    settings = job.settings
    if explain:
        shape = docker_lab.executors(docker_lab.paper(), conf_overrides)
        sys.stdout.write(targets.explain(targets.lab(shape, conf_overrides, verbose=settings.verbose)))
        return 0
    transfer.check(settings)
    lab = docker_lab.find()
    access = docker_lab.access(lab)
    shape = docker_lab.executors(lab.nodes, conf_overrides)
    docker_lab.check(shape, lab.nodes)
    built = image_job.build_model(job).path
    artifacts = transfer.send(settings, package.build(CACHE), built, bucket=BUCKET, access=access)
    docker_lab.wait_for_cores(shape, lab)
    conf = targets.lab(shape, conf_overrides, verbose=settings.verbose)
    code = submit.run_lab(submit.arguments(artifacts.archive, artifacts.main, job_args=artifacts.job_args, conf=conf))
    if code == 0:
        report = transfer.bring_back(artifacts.output, settings.output, default=paths.OUT, access=access)
        links = {"here": os.path.relpath(report), **lab.pages}
        sys.stdout.write("".join(f"{name:<12}{text}\n" for name, text in links.items()))
    elif code not in ENDS:
        code = command_line.fail(
            f"the job's driver on the lab's master was ended from outside, exit code {code}: stopped, or out of "
            "memory (make logs shows it); run: make up, and this once more: what was extracted is kept"
        )
    return code


def _setup(_: argparse.Namespace) -> int:
    java.find()
    java.make_archive(CACHE)
    return 0


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signals.install_handlers()
    sys.exit(main(sys.argv[1:]))
