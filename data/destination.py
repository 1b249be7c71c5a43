"""Where photographs are brought: a folder, or an S3 that is the lab's or that of the AWS_* variables."""

from __future__ import annotations

import argparse

from base.defaults import REGION
from launch import docker_lab
from launch.emr import aws
from launch.s3_access import Access

STARTS = {"lab": "make up", "emr-lab": "make emr-up"}  # what starts a lab; either has the same S3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--target` and `--region`."""
    parser.add_argument(
        "--target",
        choices=["local", *STARTS, "emr"],
        default="lab",
        help="whose S3 an s3:// destination means: the lab's, or that of the AWS_* variables (local, emr) (lab)",
    )
    parser.add_argument("--region", default=REGION, help=f"of the bucket, where it is no lab's ({REGION})")


def access(parsed: argparse.Namespace) -> Access:
    """The S3 that is meant, seen before anything is fetched.

    Raises:
        UsageError: there is no key to it.
        LabError: the lab does not run.
    """
    if parsed.target in STARTS:
        return docker_lab.access_to_s3(start=STARTS[parsed.target])
    aws.key()
    return Access(key=aws.key, region=parsed.region, address=aws.endpoint("s3"))
