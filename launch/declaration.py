"""Which job a command line names: one of the user's own, by a file or a folder, or the image pipeline, by its flags."""

from __future__ import annotations

import argparse

from base.errors import UsageError
from launch import image_job, job_file, options
from launch.job import Job


def find(parsed: argparse.Namespace, *, live: bool) -> Job:
    """The job that the flags of `options.add_job_arguments` name.

    Args:
        parsed: these, with the words behind `--` as `behind`.
        live: whether a line of progress may be redrawn.

    Raises:
        UsageError: it is declared in a way that cannot be.
    """
    if parsed.job is not None:
        if of_images := options.given_of_images(parsed):
            raise UsageError(
                f"{of_images[0]} belongs to the image pipeline, and JOB {parsed.job} is named; "
                "the job's own arguments follow behind --"
            )
        return job_file.read(parsed.job, args=parsed.behind or (), main_class=parsed.main_class, verbose=parsed.verbose)
    if parsed.main_class:
        raise UsageError(f"--class {parsed.main_class} is of a .jar; name it as JOB")
    for flag in ("input", "output"):
        if getattr(parsed, flag) is None:
            raise UsageError(
                f"no JOB, no {job_file.FILE} here, and no --{flag} for the image pipeline; --help lists the options"
            )
    return image_job.declare(image_job.from_flags(parsed, live=live))
