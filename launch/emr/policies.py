"""The IAM documents in `policies/`, filled in for an account and a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from string import Template
from typing import Any

from base.defaults import EVENT_LOGS
from base.paths import ROOT

FOLDER = ROOT / "policies"
WRITING = (
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
)
# What stands in a plan for what only the account knows.
UNKNOWN = {"account": "ACCOUNT", "key": "arn:aws:kms:REGION:ACCOUNT:key/KEY"}


def document(name: str, **values: str) -> dict[str, Any]:
    """The document `policies/<name>.json` with its `${…}` filled in.

    Raises:
        KeyError: one of them has no value.
    """
    filled: dict[str, Any] = json.loads(Template((FOLDER / f"{name}.json").read_text()).substitute(values))
    return filled


def all_of(bucket: str) -> dict[str, dict[str, Any]]:
    """By who has it, every document that setup and runs rest on."""
    known = {**UNKNOWN, "bucket": bucket}
    return {
        "the caller, for emr-setup and emr-down --account": document("emr/setup", **known),
        "the caller, for emr-setup --own-key": document("emr/key", **known),
        "the caller: clusters": document("emr/caller", **known),
        "the caller: the bucket": document("data", **known),
        "all roles, at most (emrlab-boundary, made by an administrator)": document("emr/boundary", **known),
        "the nodes: the job": document("job", **known),
        "the nodes: logs": document("emr/node", **known),
        "the nodes: disks with a key of one's own": document("emr/node-key", **known),
        "EMR, beside AmazonEMRServicePolicy_v2": document("emr/service", **known),
        "EMR: disks with a key of one's own": document("emr/service-key", **known),
    }


def of_job(bucket: str, *, reads: Iterable[str], writes: Iterable[str]) -> dict[str, Any]:
    """The least that a job's nodes need: its package and event logs in `bucket`, and the places that it declares.

    Args:
        bucket: of packages and event logs; a name.
        reads, writes: s3:// prefixes; what is written is read again, too.
    """
    written = [*writes, f"s3://{bucket}/{EVENT_LOGS.rstrip('/')}"]
    given = [*reads, f"s3://{bucket}/artifacts"]
    prefixes = dict[str, list[str]]()
    for place in (*given, *written):
        name, _, prefix = place.removeprefix("s3://").partition("/")
        prefixes.setdefault(name, []).append(prefix)
    listed = [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{name}"],
            "Condition": {"StringLike": {"s3:prefix": [each for prefix in of for each in (prefix, f"{prefix}/*")]}},
        }
        for name, of in prefixes.items()
    ]
    rights = [
        (["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"], [f"arn:aws:s3:::{name}" for name in prefixes]),
        (["s3:GetObject"], [f"{_arn(place)}/*" for place in given] + [_arn(place) for place in written]),
        (
            [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            [f"{_arn(place)}/*" for place in written],
        ),
    ]
    allowed = [{"Effect": "Allow", "Action": actions, "Resource": resources} for actions, resources in rights]
    return {"Version": "2012-10-17", "Statement": [*listed, *allowed]}


def _arn(place: str) -> str:
    return f"arn:aws:s3:::{place.removeprefix('s3://')}"
