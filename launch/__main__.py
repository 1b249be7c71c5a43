"""The command line: `python -m launch run`, `setup`, and the commands `emr-…`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lab import sizing
from launch import cluster, jars, java, model, package, storage, submit, targets, transfer
from launch.emr import command as emr
from launch.options import add_model_arguments
from pipeline import signals
from pipeline.patience import first_contact
from pipeline.settings import Parser, Settings, UsageError, add_arguments, from_namespace

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
SAMPLE = ROOT / "data" / "sample"
ENDS = (0, 1, 2, 129, 130, 143)  # of the job itself, which has said why
MISTAKES = (UsageError, model.ModelError, java.JavaError, jars.JarsError, cluster.LabError, sizing.SizingError)


def main(argv: Sequence[str]) -> int:
    """Run one command; exit code 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C, 143 and 129 for
    SIGTERM and SIGHUP.
    """
    first_contact()
    try:
        parsed = _parser().parse_args(argv)
        return int(parsed.command(parsed))
    except MISTAKES as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except (storage.StorageError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as stopped:  # before the job has begun: it speaks for itself
        with suppress(OSError):  # the terminal is closed
            sys.stderr.write("error: stopped; run again\n")
        return signals.exit_code(stopped)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m launch", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
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
    setup = commands.add_parser(
        "setup",
        help="make ready: check Java, speed up its start",
        description="Checks Java and makes the archive that speeds up its start. Needed once.",
    )
    setup.set_defaults(command=_setup)
    emr.add_commands(commands)
    return parser


def _run(parsed: argparse.Namespace) -> int:
    wanted = parsed.model
    parsed.live = sys.stdout.isatty()
    parsed.model = "."  # stands in until the file is built: a mistake in the other flags should not wait for that
    settings, given = from_namespace(parsed), dict(parsed.conf)
    parsed.model = wanted
    return (_run_in_lab if parsed.target == "lab" else _run_here)(parsed, settings, given=given)


def _run_here(parsed: argparse.Namespace, settings: Settings, *, given: Mapping[str, str]) -> int:
    conf = targets.local([settings.input, settings.output], given)
    if parsed.explain:
        sys.stdout.write(targets.explain(conf))
        return 0
    java.find()
    settings = replace(settings, model=str(_build(parsed).path))
    on_s3 = any(location.startswith("s3://") for location in (settings.input, settings.output))
    built, s3a = package.build(CACHE), jars.s3a_jars(CACHE) if on_s3 else ()
    args = submit.arguments(built.archive, built.main, settings=settings, conf=conf, jars=s3a)
    return submit.run_local(args, conf, cache=CACHE, verbose=settings.verbose)


def _run_in_lab(parsed: argparse.Namespace, settings: Settings, *, given: Mapping[str, str]) -> int:
    """What can be wrong is looked at before a model is built or an image sent."""
    if parsed.explain:
        sys.stdout.write(
            targets.explain(targets.lab(cluster.executors(cluster.paper(), given), given, verbose=settings.verbose))
        )
        return 0
    transfer.check(settings)
    lab = cluster.find()
    access = cluster.access(lab)
    shape = cluster.executors(lab.nodes, given)
    cluster.check(shape, lab.nodes)
    built = _build(parsed).path
    shipment = transfer.send(settings, package.build(CACHE), built, bucket=cluster.BUCKET, access=access)
    cluster.wait_for_cores(shape, lab)
    conf = targets.lab(shape, given, verbose=settings.verbose)
    code = submit.run_lab(submit.arguments(shipment.archive, shipment.main, settings=shipment.settings, conf=conf))
    if code == 0:
        report = transfer.bring_back(shipment, settings.output, default=ROOT / "out", access=access)
        links = {"here": os.path.relpath(report), **lab.pages}
        sys.stdout.write("".join(f"{name:<12}{text}\n" for name, text in links.items()))
    elif code not in ENDS:
        sys.stderr.write(
            f"error: the job's driver on the lab's master was ended from outside, exit code {code}: stopped, or out of "
            "memory (make logs shows it); run: make up, and this once more: what was extracted is kept\n"
        )
        code = 1
    return code


def _build(parsed: argparse.Namespace) -> model.BuiltModel:
    return model.build(
        parsed.model, weights=parsed.weights, image_size=parsed.image_size, cache=CACHE / "models", images=_pictures()
    )


def _setup(_: argparse.Namespace) -> int:
    java.find()
    java.make_archive(CACHE)
    return 0


def _pictures() -> list[Path]:
    """Two views a class of the sample, to compare a model's LiteRT file with its source on."""
    return sorted(SAMPLE.glob("*/0_[01].jpg"))


if __name__ == "__main__":
    signals.heed()
    sys.exit(main(sys.argv[1:]))
