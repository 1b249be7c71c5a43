"""A job's run on this machine and in the Docker lab, from what is declared to what comes back."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from base import command_line, paths, releases
from base.defaults import BUCKET
from base.errors import UsageError
from base.paths import CACHE
from launch import causes, docker_lab, jars, java, listing, outputs, package, submit, targets, transfer
from launch.docker_lab import Lab, LabError
from launch.job import Job, executor_settings, is_remote
from launch.submit import Tail

if TYPE_CHECKING:
    from base.releases import Release
    from launch.needs import Packages

ENDS = (0, 1, 2, 129, 130, 143)  # of the image pipeline itself, which has said why
STOPPED = (129, 130, 143)


def explain(job: Job, target: str, conf_overrides: Mapping[str, str]) -> str:
    """The Spark settings of a run, and the reasons for them."""
    if target == "lab":
        shape = docker_lab.executors(docker_lab.paper(), job.asked(conf_overrides))
        return targets.explain(targets.lab(shape, conf_overrides, own=job.settings, verbose=job.verbose))
    return targets.explain(targets.local(job.locations(), conf_overrides, own=job.settings))


def here(job: Job, conf_overrides: Mapping[str, str]) -> int:
    """Run the job on this machine's own Spark; its exit code.

    Raises:
        EmrlabError: something is to be corrected, or cannot be had.
    """
    secrets_there(job)
    java.find()
    folders = {name: Path(out.location) for name, out in job.outputs.items() if not is_remote(out.location)}
    if job.is_own:
        _check_inputs(job)
        for name, folder in folders.items():
            outputs.check(folder, words=job.words("outputs", name))
    if job.release not in {None, (has := releases.find()).label}:
        sys.stderr.write(f"warning: {job.declared_in}: release {job.release}; this machine's Spark is {has.label}'s\n")
    job, packages = _with_needs_here(job)
    made = {name: str(each.make()) for name, each in job.made.items()}
    built = package.build(job.entry, job.modules, cache=CACHE)
    filled = job.filled({**job.inputs, **{name: out.location for name, out in job.outputs.items()}, **made})
    s3a = jars.s3a_jars(CACHE) if any(is_remote(location) for location in job.locations()) else []
    own = [*job.settings, *executor_settings(filled.env)]
    conf = targets.local(job.locations(), conf_overrides, own=own)
    if not job.is_own:
        return submit.run_local(
            submit.local(built, job_args=filled.args, conf=conf, cache=CACHE, jars=s3a, verbose=job.verbose)
        )
    args = submit.arguments(
        built.main,
        job_args=filled.args,
        conf=conf,
        name=job.name,
        archive=built.archive,
        jars=[*s3a, *job.jars],
        files=job.files,
        main_class=job.main_class,
    )
    tail = Tail()
    code = submit.run_local(
        submit.local_by_spark(
            args,
            conf=conf,
            cache=CACHE,
            env=filled.env,
            packages=packages,
            verbose=job.verbose,
        ),
        tail=tail,
    )
    for folder in folders.values():
        outputs.record(folder)
    if code == 0:
        _show({name: folder for name, folder in folders.items() if folder.exists()})
    return code if code == 0 else _failed(job, code, tail, rest="what it wrote to its outputs stays")


def in_lab(job: Job, conf_overrides: Mapping[str, str]) -> int:
    """Run the job in the Docker lab; its exit code.

    What can be wrong is looked at before anything is made or sent.

    Args:
        job: to be run.
        conf_overrides: of who runs it.

    Raises:
        EmrlabError: something is to be corrected, or cannot be had.
    """
    secrets_there(job)
    if job.is_own:
        transfer.check_places(job, bucket=BUCKET)
    transfer.check(job)
    lab = docker_lab.find()
    if job.release not in {None, lab.release.label}:
        raise UsageError(
            f"{job.declared_in}: release {job.release}, and the lab has {lab.release.label}; "
            f"run: make up RELEASE={job.release}"
        )
    job, needed = _with_needs_of_lab(job, lab.release)
    access = docker_lab.access(lab)
    wanted = job.asked(conf_overrides)
    shape = docker_lab.executors(lab.nodes, wanted)
    docker_lab.check(shape, lab.nodes)
    made = {name: each.make() for name, each in job.made.items()}
    built = package.build(job.entry, job.modules, cache=CACHE)
    listing.show(job, built, needed)
    sent = transfer.send(job, built, made, bucket=BUCKET, access=access)
    python = needed.python_in_lab() if needed else targets.PYTHON
    docker_lab.wait_for_cores(shape, lab)
    tables = [targets.tables(secrets.token_hex(8))] if job.is_own else []
    own = [*tables, *job.settings, *executor_settings(sent.env)]
    args = submit.arguments(
        sent.main,
        job_args=sent.job_args,
        conf=targets.lab(shape, conf_overrides, own=own, python=python, verbose=job.verbose),
        name=job.name,
        archive=sent.archive,
        jars=sent.jars,
        files=sent.files,
        main_class=job.main_class,
    )
    tail, before = Tail() if job.is_own else None, docker_lab.applications(lab)
    code = submit.run_lab(args, env=sent.env, secrets=job.secrets, tail=tail)
    if tail and code not in STOPPED:
        _warn_without_session(job, lab, before)
    if code == 0:
        _show(transfer.bring_back(job, sent, default=paths.OUT, access=access), lab.pages)
    elif tail:
        stays = ", ".join(sent.places[name] for name in job.outputs)
        rest = f"what it wrote stays in {stays}; " * bool(stays)
        return _failed(job, code, tail, rest=f"{rest}its pages: {lab.pages.get('history', lab.pages['Spark'])}")
    elif code not in ENDS:
        return command_line.fail(
            f"the job's driver on the lab's master was ended from outside, exit code {code}: stopped, or out of "
            "memory (make logs shows it); run: make up, and this once more: what was extracted is kept"
        )
    return code


def _with_needs_here(job: Job) -> tuple[Job, Path | None]:
    """The job with its packages' jars, and the folder of its Python packages."""
    if not job.requirements and not job.packages:
        return job, None
    from launch import needs  # noqa: PLC0415 - and uv, for who has needs
    from launch.dependencies import lock  # noqa: PLC0415

    needed = needs.packages(job, lock.here())
    return needs.with_jars(job, releases.find()), needed.unpacked() if needed else None


def _with_needs_of_lab(job: Job, release: Release) -> tuple[Job, Packages | None]:
    """The job with its packages' jars, and its Python packages, for the release that the lab was started with."""
    if not job.requirements and not job.packages:
        return job, None
    from launch import needs  # noqa: PLC0415 - as above
    from launch.dependencies import lock  # noqa: PLC0415

    needed = needs.packages(job, needs.of_nodes(release, lock.machine_here()))
    return needs.with_jars(job, release), needed


def _warn_without_session(job: Job, lab: Lab, before: frozenset[str]) -> None:
    """Say so where Spark's master has heard of no application since it knew of those `before`."""
    try:
        now = docker_lab.applications(lab)
    except LabError:  # it has gone meanwhile; how the job ended is told all the same
        return
    if now <= before:
        sys.stderr.write(f"warning: {job.name} made no SparkSession: what it did, the driver did alone\n")


def secrets_there(job: Job) -> None:
    """See that this machine's environment has the job's secrets.

    Raises:
        UsageError: one is not there.
    """
    for name in job.secrets:
        if name not in os.environ:
            raise UsageError(f"{job.declared_in}: secrets {name}: no such variable here; set it, and run again")


def _check_inputs(job: Job) -> None:
    for name, source in job.inputs.items():
        if not is_remote(source):
            transfer.check_folder(source, words=job.words("inputs", name))


def _show(came: Mapping[str, Path], pages: Mapping[str, str] | None = None) -> None:
    """Where the results are, and what there is to look at."""
    names = {"here" if len(came) == 1 else name: os.path.relpath(path) for name, path in came.items()}
    links = {**names, **(pages or {})}
    sys.stdout.write("".join(f"{name:<12}{text}\n" for name, text in links.items()))


def _failed(job: Job, code: int, tail: Tail, *, rest: str) -> int:
    """Say in one line how a job ended that may not have; its exit code, kept."""
    if tail.was_killed:
        return command_line.fail(
            f"{job.name} was asked to end, did not, and was killed after {submit.STOP_S:.0f} s; {rest}", exit_code=code
        )
    if code in STOPPED:
        return command_line.fail(f"{job.name} was stopped; {rest}", exit_code=code)
    cause = causes.find(tail.text(), causes.JOB)
    why = f": {cause.text}" if cause else ""
    if code in {128 + 9, 128 + 15} and not cause:
        why = ": ended from outside, as where memory runs out"
    fix = f"; {cause.fix}" if cause and cause.fix else ""
    return command_line.fail(f"{job.name} ended with exit code {code}{why}{fix}; {rest}", exit_code=code)
