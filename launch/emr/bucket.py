"""The bucket of clusters: one that emr-setup made, with the tag, or a user's own, of which it changes next to nothing.

In a bucket that was there before there is one lifecycle rule more, for the logs' own folder, and one empty object; both
are announced, and `remove` takes them back. What others set stays as it is: their rules, their encryption, who sees it.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from base.defaults import EVENT_LOGS
from launch.emr import aws
from launch.emr.aws import NAME, TAG, EmrError
from launch.emr.change import Change, or_none
from launch.emr.request import LOGS

LOG_DAYS = 30
UPLOAD_DAYS = 2  # parts of an upload that nobody finished are billed and not listed
MARK = {NAME: "true"}  # metadata of that object, where it is ours
LOGS_RULE, UPLOADS_RULE = f"{NAME}-logs", f"{NAME}-uploads"
CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
DELETED_AT_ONCE = 1000  # objects that S3 takes in one request


def ensure(bucket: str, region: str, account: str, change: Change) -> None:
    """Make the bucket where there is none: encrypted, closed, unfinished uploads removed in time; in any, the logs.

    Raises:
        ClientError, BotoCoreError: AWS refuses; the bucket is another account's.
    """
    s3, owner = aws.client("s3", region), {"Bucket": bucket, "ExpectedBucketOwner": account}
    location = or_none(lambda: s3.get_bucket_location(**owner), "NoSuchBucket")
    if location is None:
        place = {} if region == "us-east-1" else {"LocationConstraint": region}
        configuration = {"CreateBucketConfiguration": place} if place else {}
        change(f"there: bucket {bucket} in {region}", lambda: s3.create_bucket(Bucket=bucket, **configuration))
        change(f"tagged: bucket {bucket}", lambda: s3.put_bucket_tagging(**owner, Tagging={"TagSet": [TAG]}))
    exists = location is not None or not change.dry_run
    ours = location is None or _is_ours(s3, owner)
    if ours:
        _encrypt(s3, owner, change, exists=exists)
    block = exists and or_none(lambda: s3.get_public_access_block(**owner), "NoSuchPublicAccessBlockConfiguration")
    if not block or block["PublicAccessBlockConfiguration"] != CLOSED:
        if ours:
            change(
                f"closed to the public: bucket {bucket}",
                lambda: s3.put_public_access_block(**owner, PublicAccessBlockConfiguration=CLOSED),
            )
        else:
            change.remark(
                f"left as it is: bucket {bucket}, which was there before, may be opened to the public; to rule that "
                f"out: aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
                + ",".join(f"{name}=true" for name in CLOSED)
            )
    _ensure_lifecycle(s3, owner, change, exists=exists, ours=ours)
    if not exists or or_none(lambda: s3.head_object(**owner, Key=EVENT_LOGS), "404") is None:
        change(f"there: s3://{bucket}/{EVENT_LOGS}", lambda: s3.put_object(**owner, Key=EVENT_LOGS, Metadata=MARK))


def remove(bucket: str, region: str, account: str, change: Change) -> None:
    """Remove the bucket with all that is in it, where it is ours; what `ensure` brought to it, where it is not.

    Raises:
        EmrError: objects cannot be removed.
        ClientError, BotoCoreError: AWS refuses.
    """
    s3, owner = aws.client("s3", region), {"Bucket": bucket, "ExpectedBucketOwner": account}
    if or_none(lambda: s3.get_bucket_location(**owner), "NoSuchBucket") is None:
        return
    if not _is_ours(s3, owner):
        _leave(s3, owner, change)
        return
    objects = list(aws.pages(s3, "list_objects_v2", "Contents", **owner))
    size_mb = sum(each["Size"] for each in objects) / 1e6

    def empty_and_delete() -> None:
        listed = (aws.pages(s3, "list_object_versions", kind, **owner) for kind in ("Versions", "DeleteMarkers"))
        versions = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in chain(*listed)]
        for start in range(0, len(versions), DELETED_AT_ONCE):
            some = versions[start : start + DELETED_AT_ONCE]
            answer = s3.delete_objects(**owner, Delete={"Objects": some, "Quiet": True})
            if refused := answer.get("Errors"):
                raise EmrError(
                    f"s3://{bucket}/{refused[0]['Key']} cannot be removed ({refused[0]['Code']}); the bucket stays, "
                    "with what is left in it"
                )
        s3.delete_bucket(**owner)

    change(f"gone: bucket {bucket} with {len(objects):,} objects, {size_mb:,.1f} MB", empty_and_delete)


def _is_ours(s3: Any, owner: dict[str, str]) -> bool:
    tags = or_none(lambda: s3.get_bucket_tagging(**owner), "NoSuchTagSet")
    return tags is not None and TAG in tags["TagSet"]


def _encrypt(s3: Any, owner: dict[str, str], change: Change, *, exists: bool) -> None:
    none = "ServerSideEncryptionConfigurationNotFoundError"
    if exists and or_none(lambda: s3.get_bucket_encryption(**owner), none):
        return
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    change(
        f"encrypted: bucket {owner['Bucket']}",
        lambda: s3.put_bucket_encryption(**owner, ServerSideEncryptionConfiguration={"Rules": rules}),
    )


def _ensure_lifecycle(s3: Any, owner: dict[str, str], change: Change, *, exists: bool, ours: bool) -> None:
    rules, keep = _lifecycle(s3, owner) if exists else ([], {})
    theirs = _of_others(rules)
    our_rules = _rules(theirs, ours=ours)
    if _of_ours(rules) == our_rules:
        return
    what = f"logs in {LOGS} after {LOG_DAYS} days"
    what += f", unfinished uploads after {UPLOAD_DAYS}" if ours else ""
    change(
        f"removed in time: {what}",
        lambda: s3.put_bucket_lifecycle_configuration(
            **owner, LifecycleConfiguration={"Rules": theirs + our_rules}, **keep
        ),
    )


def _leave(s3: Any, owner: dict[str, str], change: Change) -> None:
    """Take back what `ensure` brought to a bucket of a user's own."""
    rules, keep = _lifecycle(s3, owner)
    theirs = _of_others(rules)
    if len(theirs) < len(rules):

        def put_back() -> None:
            if theirs:
                s3.put_bucket_lifecycle_configuration(**owner, LifecycleConfiguration={"Rules": theirs}, **keep)
            else:
                s3.delete_bucket_lifecycle(**owner)

        change(f"without our lifecycle rule: bucket {owner['Bucket']}, which stays", put_back)
    marker = or_none(lambda: s3.head_object(**owner, Key=EVENT_LOGS), "404")
    if marker is not None and marker["Metadata"] == MARK:
        # In a bucket with versions the one that is ours goes, and no mark of a deletion stays.
        version = {"VersionId": marker["VersionId"]} if "VersionId" in marker else {}
        change(
            f"gone: the empty object s3://{owner['Bucket']}/{EVENT_LOGS}",
            lambda: s3.delete_object(**owner, Key=EVENT_LOGS, **version),
        )


def _rules(theirs: list[dict[str, Any]], *, ours: bool) -> list[dict[str, Any]]:
    """Our rules, by their ids, to stand beside those of others: S3 refuses the old form of a prefix next to the new."""
    old_form = any("Filter" not in rule for rule in theirs)

    def below(prefix: str) -> dict[str, Any]:
        return {"Prefix": prefix} if old_form else {"Filter": {"Prefix": prefix}}

    logs = {
        "ID": LOGS_RULE,
        "Status": "Enabled",
        **below(LOGS),
        "Expiration": {"Days": LOG_DAYS},
        # Where the bucket keeps versions, what has expired would else be billed for ever.
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    uploads = {
        "ID": UPLOADS_RULE,
        "Status": "Enabled",
        **below(""),
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }
    return [logs, uploads] if ours else [logs]


def _lifecycle(s3: Any, owner: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The bucket's rules, and what else a new configuration must say so that theirs mean what they meant."""
    configuration = (
        or_none(lambda: s3.get_bucket_lifecycle_configuration(**owner), "NoSuchLifecycleConfiguration") or {}
    )
    size = "TransitionDefaultMinimumObjectSize"
    return configuration.get("Rules", []), {size: configuration[size]} if size in configuration else {}


def _of_ours(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((rule for rule in rules if rule.get("ID") in {LOGS_RULE, UPLOADS_RULE}), key=lambda rule: rule["ID"])


def _of_others(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if rule.get("ID") not in {LOGS_RULE, UPLOADS_RULE}]
