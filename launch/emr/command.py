"""The commands `emr-…` of `python -m launch`. Their modules are loaded when one is called: boto3 takes its time."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from base import command_line, compose, paths, releases, sizing
from base.defaults import BUCKET, INSTANCE_TYPE, REGION
from base.errors import UsageError
from launch import docker_lab, options
from launch.job import Job, is_remote
from pipeline import signals

if TYPE_CHECKING:
    from launch.emr.run_spec import ClusterSpec, RunSpec

LAB = "emr-lab"
TARGETS = ("emr", LAB)
MAX_MINUTES = 24 * 60
MOST_USD = 1_000_000

Commands = "argparse._SubParsersAction[Any]"
Arguments = argparse.ArgumentParser | argparse._ArgumentGroup


def add_commands(commands: Commands) -> None:  # type: ignore[valid-type]
    """Add the commands to the parser of `python -m launch`."""

    def add(name: str, command: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(  # type: ignore[attr-defined]
            name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False
        )
        parser.set_defaults(command=lambda parsed: _guarded(command, parsed))
        parser.add_argument(
            "--target",
            choices=TARGETS,
            default="emr",
            help="Amazon EMR (emr), or the EMR lab, which is free (emr-lab)",
        )
        _add_region(parser)
        return parser

    for name, command, words in (
        (
            "emr-run",
            _run,
            "run a job on a cluster of Amazon EMR: your own JOB, its arguments behind --, or the image pipeline",
        ),
        ("emr-plan", _plan, "print what emr-run would ask of Amazon, the rights and the estimate; calls nothing"),
    ):
        _add_run_arguments(add(name, command, words))
    for name, command, words in (
        ("emr-status", _status, "show the clusters that emrlab started, and their steps"),
        ("emr-logs", _logs, "print what the last step of a cluster wrote"),
        ("emr-stop", _stop, "cancel the step that runs on a cluster"),
    ):
        add(name, command, words).add_argument("--cluster", metavar="ID", help="like j-…; by default the newest")
    down = add("emr-down", _down, "end every cluster that emrlab started; with --account, remove all it made")
    down.add_argument("--account", action="store_true", help="roles, bucket, key and budget too: back to zero cost")
    down.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    _add_yes(down)
    _add_bucket(down)
    setup = add("emr-setup", _setup, "make the account ready: roles, bucket, key, subnets; again, it changes nothing")
    _add_bucket(setup)
    _add_subnet(setup)
    setup.add_argument(
        "--own-key", action="store_true", help="encrypt the disks with a KMS key of one's own, $1 a month"
    )
    setup.add_argument("--budget-usd", type=float, metavar="N", help="a budget of N dollars a month, with an alarm")
    setup.add_argument("--email", metavar="ADDRESS", help="whom the alarm goes to")
    setup.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")
    _add_bucket(add("emr-history", _history, "show Spark's pages of the runs whose event logs are in the bucket"))
    add("emr-prices", _prices, "ask Amazon's price list anew; writes launch/emr/prices.toml")


def add_cluster_arguments(parser: Arguments) -> None:
    """Which cluster a session is on, with `--target emr` or `emr-lab`, and what it may cost."""
    _add_region(parser)
    _add_bucket(parser)
    _add_cluster_arguments(parser)


def check_no_cluster(parsed: argparse.Namespace) -> None:
    """See that none of `add_cluster_arguments` is given for a target that has no clusters of EMR's.

    Raises:
        UsageError: one is.
    """
    probe = argparse.ArgumentParser()
    add_cluster_arguments(probe)
    given = [name for name, default in vars(probe.parse_args([])).items() if getattr(parsed, name) != default]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is of --target {' and '.join(TARGETS)}, not {parsed.target}; leave it out"
        )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    _add_bucket(parser)
    options.add_job_arguments(parser)
    _add_cluster_arguments(parser)
    parser.add_argument(
        "--minutes", type=_minutes, default=10.0, metavar="N", help="that a JOB takes, for the estimate (10)"
    )


def _add_cluster_arguments(parser: Arguments) -> None:
    parser.add_argument("--release", metavar="LABEL", help="of releases.toml (what JOB declares, else its default)")
    parser.add_argument(
        "--instance-type", metavar="TYPE", help=f"of every node (what JOB declares, else {INSTANCE_TYPE})"
    )
    parser.add_argument("--workers", type=_whole, default=sizing.WORKERS, metavar="N", help="nodes that extract (2)")
    _add_subnet(parser)
    parser.add_argument("--spot", action="store_true", help="all workers but one on spot; on demand for want of it")
    parser.add_argument("--keep", action="store_true", help="the cluster stays for what comes next, ten idle minutes")
    parser.add_argument("--cluster", metavar="ID", help="use this cluster that was kept, instead of starting one")
    parser.add_argument("--max-usd", type=_dollars, default=5.0, metavar="N", help="refuse what would cost more (5)")
    _add_yes(parser)


def _add_region(parser: Arguments) -> None:
    parser.add_argument("--region", default=REGION, metavar="REGION", help=f"of cluster and bucket ({REGION})")


def _add_bucket(parser: Arguments) -> None:
    parser.add_argument("--bucket", metavar="NAME", help="S3 bucket, without s3://; the lab has one of its own")


def _add_subnet(parser: Arguments) -> None:
    parser.add_argument("--subnet", metavar="ID", help="of the nodes; by default all that emr-setup made ready")


def _add_yes(parser: Arguments) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _guarded(command: Callable[[argparse.Namespace], int], parsed: argparse.Namespace) -> int:
    """Run a command; what AWS answers or does not becomes one line."""
    from launch.emr import aws  # noqa: PLC0415

    try:
        if parsed.target == LAB and command is not _plan:
            aws.use_lab()
        return command(parsed)
    except aws.AWS_ERRORS as error:
        return command_line.fail(aws.explain(error))


def _run(parsed: argparse.Namespace) -> int:
    from launch.emr import cost, plan, preflight, run, run_spec, workload  # noqa: PLC0415

    spec = _run_spec(parsed)
    run_spec.check(spec)
    spec = preflight.preflight(spec)
    expected = plan.estimate(spec, workload.find(spec))
    sys.stdout.write(command_line.typed(cost.words(expected, in_emr_lab=spec.in_emr_lab)))
    cost.check(expected, max_usd=spec.max_usd)
    if not (parsed.yes or spec.in_emr_lab or agrees("run it?")):
        return 2
    return run.run(spec, expected, show=_clock())


def _plan(parsed: argparse.Namespace) -> int:
    from launch.emr import cost, plan, run_spec, workload  # noqa: PLC0415

    spec = _run_spec(parsed)
    run_spec.check(spec)
    expected = plan.estimate(spec, workload.planned(spec))
    sys.stdout.write(plan.text(spec, expected))
    if spec.job.work and is_remote(spec.job.inputs[spec.job.work.input]):
        sys.stdout.write(f"# The estimate, for {expected.images:,} photographs: a plan does not look into the bucket\n")
    sys.stdout.write(command_line.typed(cost.words(expected, in_emr_lab=spec.in_emr_lab)))
    cost.check(expected, max_usd=spec.max_usd)
    return 0


def _status(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, status, teardown  # noqa: PLC0415

    emr = aws.client("emr", parsed.region)
    if parsed.cluster:
        clusters = [status.get_cluster(emr, parsed.cluster)]
    else:
        clusters = list(teardown.clusters(emr, *teardown.ACTIVE))
    for cluster in clusters:
        sys.stdout.write(status.words(emr, cluster))
    if not clusters:
        sys.stdout.write(f"no cluster of emrlab runs in {parsed.region}\n")
    return 0


def _logs(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, status  # noqa: PLC0415

    emr, s3 = aws.client("emr", parsed.region), aws.client("s3", parsed.region)
    sys.stdout.write(status.last_log(emr, s3, status.get_cluster(emr, parsed.cluster)))
    return 0


def _stop(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, status  # noqa: PLC0415

    emr = aws.client("emr", parsed.region)
    sys.stdout.write(status.stop(emr, status.get_cluster(emr, parsed.cluster)))
    return 0


def _down(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, change, follow, teardown  # noqa: PLC0415

    if parsed.account and not parsed.bucket:
        raise UsageError("--account needs BUCKET=NAME (--bucket NAME); the bucket goes too where emr-setup made it")
    emr, show = aws.client("emr", parsed.region), _clock()
    ids = [str(cluster["Id"]) for cluster in teardown.clusters(emr, *teardown.ACTIVE)]
    sys.stdout.write(f"{len(ids)} clusters of emrlab in {parsed.region}: {', '.join(ids) or 'none'}\n")
    if not parsed.dry_run and ids:
        teardown.end(emr, ids)
        clients = follow.Clients(emr=emr, s3=None)
        for cluster_id in ids:
            show(f"cluster {cluster_id} is {follow.wait_ended(clients, cluster_id, show=show).lower()}")
    if parsed.account:
        dry_run = change.Change(dry_run=True, show=_print, remark=_print)
        teardown.remove_account(parsed.bucket, parsed.region, dry_run)
        if parsed.dry_run or not (parsed.yes or agrees("remove all of it?")):
            return 0
        teardown.remove_account(parsed.bucket, parsed.region, replace(dry_run, dry_run=False, remark=_nothing))
    return 0


def _setup(parsed: argparse.Namespace) -> int:
    from launch.emr import account, run_spec  # noqa: PLC0415

    if (parsed.budget_usd is None) != (parsed.email is None):
        raise UsageError("BUDGET_USD and EMAIL (--budget-usd, --email) belong together; give both or none")
    bucket = _bucket(parsed)
    run_spec.check_bucket(bucket)
    setup = account.Setup(
        bucket=bucket,
        region=parsed.region,
        subnet=parsed.subnet,
        own_key=parsed.own_key,
        budget_usd=parsed.budget_usd,
        email=parsed.email,
    )
    if not account.set_up(setup, dry_run=parsed.dry_run, show=_print):
        _print("all is as wanted; nothing was changed")
    return 0


def _prices(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, cost, prices  # noqa: PLC0415

    if paths.INSTALLED:
        raise UsageError("an installation has its version's prices; others are asked for in a checkout of emrlab")
    table = prices.ask(aws.client("pricing", prices.ASKED_IN), add=parsed.region)
    cost.PRICES.write_text(prices.render(table, on=datetime.now(UTC).date()))
    _print(f"{len(table)} regions with {len(sizing.INSTANCE_TYPES)} instance types are in {cost.PRICES.name}")
    return 0


def _history(parsed: argparse.Namespace) -> int:
    from launch.emr import aws, history, run_spec  # noqa: PLC0415

    bucket = _bucket(parsed)
    run_spec.check_bucket(bucket)
    folder = paths.OUT / "history" / bucket
    logs = history.fetch(aws.client("s3", parsed.region), bucket, folder, show=_print)
    _print(f"{logs:,} files of event logs are in {os.path.relpath(folder)}")
    try:
        history.serve(folder, f"emrlab/spark:{os.environ.get('RELEASE') or 'default'}", show=_print)
    except KeyboardInterrupt as ended:
        return signals.exit_code(ended) if isinstance(ended, signals.Stopped) else 0
    return 0


def _run_spec(parsed: argparse.Namespace) -> RunSpec:
    from launch import declaration  # noqa: PLC0415
    from launch.emr.run_spec import RunSpec  # noqa: PLC0415

    job = declaration.find(parsed, live=False)
    return RunSpec(**vars(cluster_spec(parsed, job)), job=job, minutes=parsed.minutes)


def cluster_spec(parsed: argparse.Namespace, job: Job | None = None) -> ClusterSpec:
    """The cluster that a command line asks for, or the `job`, or else the EMR lab is.

    Raises:
        UsageError: there is no bucket, or no such release.
        SizingError, LabError: the EMR lab's nodes cannot be sized.
    """
    from launch.emr.request import Cluster  # noqa: PLC0415
    from launch.emr.run_spec import ClusterSpec  # noqa: PLC0415

    in_lab = parsed.target == LAB
    of_job = (job.release, job.instance_type) if job else (None, None)
    of_lab = (compose.setting("RELEASE"), compose.setting("INSTANCE_TYPE")) if in_lab else (None, None)
    release = releases.find(parsed.release or of_job[0] or of_lab[0])
    instance_type = parsed.instance_type or of_job[1] or of_lab[1] or INSTANCE_TYPE
    for line in releases.warnings(release, today=datetime.now(UTC).date()):
        sys.stderr.write(f"warning: {line}\n")
    cluster = Cluster(
        bucket=_bucket(parsed),
        region=parsed.region,
        release=release.label,
        instance_type=instance_type,
        workers=parsed.workers,
        subnets=(parsed.subnet,) if parsed.subnet else (),
        spot=parsed.spot,
        keep=parsed.keep,
        node=docker_lab.emr_lab_node(instance_type) if in_lab else None,
    )
    return ClusterSpec(
        cluster=cluster,
        release=release,
        cluster_id=parsed.cluster,
        in_emr_lab=in_lab,
        conf_overrides=dict(parsed.conf),
        max_usd=parsed.max_usd,
    )


def _bucket(parsed: argparse.Namespace) -> str:
    if parsed.bucket:
        return str(parsed.bucket)
    if parsed.target == LAB:
        return BUCKET
    raise UsageError("no bucket; give the one that emr-setup made, or is to make: BUCKET=NAME (--bucket NAME)")


def agrees(question: str) -> bool:
    """Ask at the terminal.

    Raises:
        UsageError: there is none.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask at; give YES=1 (--yes)")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _clock() -> Callable[[str], None]:
    """Prints lines with the minutes and seconds since now."""
    from launch.emr.follow import real_s  # noqa: PLC0415

    started = real_s()

    def show(line: str) -> None:
        seconds = int(real_s() - started)
        _print(f"{seconds // 60:3}:{seconds % 60:02}  {line}")

    return show


def _print(line: str) -> None:
    """A line for whoever reads; where the terminal or the pipe is closed, what is being done is done all the same."""
    with suppress(OSError):
        sys.stdout.write(command_line.typed(f"{line}\n"))
        sys.stdout.flush()


def _nothing(_: str) -> None:
    """Says nothing: it was said before the question."""


def _minutes(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes; give one over 0 and up to {MAX_MINUTES}")
    return float(text)


def _dollars(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= MOST_USD:
        raise argparse.ArgumentTypeError(f"{text!r} is no price; give dollars, over 0 and up to {MOST_USD:,}")
    return float(text)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes; give a whole number from 1")
    return int(text)
