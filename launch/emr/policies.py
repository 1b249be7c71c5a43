"""The IAM documents in `policies/`, filled in for an account and a bucket."""

from __future__ import annotations

import json
from string import Template
from typing import Any

from base.paths import ROOT

FOLDER = ROOT / "policies"
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
