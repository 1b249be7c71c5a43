"""A KMS key of one's own for the disks of clusters, for who asks for it; else the account's default of EBS holds."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import HTTPClientError

from launch.emr import aws
from launch.emr.aws import AWS_ERRORS, NAME, TAG, EmrError
from launch.emr.change import Change, or_none

ALIAS = f"alias/{NAME}"
PENDING_DAYS = 7  # the shortest that KMS allows; a key that waits for its end costs nothing
PRICE = "$1 a month"
# EC2 starts spot machines in the name of this role, which has no right to keys that are not Amazon's own.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/service-linked-roles-spot-instance-requests.html
SPOT_ROLE = "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
SPOT_GRANT = f"{NAME}-spot"
SPOT_RIGHTS = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)


def find(region: str) -> str | None:
    """The ARN of the key that emr-setup made; None where there is none, or the name is somebody else's.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    kms = aws.client("kms", region)
    alias = or_none(lambda: kms.describe_key(KeyId=ALIAS), "NotFoundException")
    if alias is None:
        return None
    arn = str(alias["KeyMetadata"]["Arn"])
    return arn if _is_ours(kms, arn) else None


def ensure(region: str, account: str, change: Change) -> str:
    """The key, made where there is none; returns its ARN.

    Raises:
        EmrError: the name is somebody else's, or the key cannot be used.
        ClientError, BotoCoreError: AWS refuses.
    """
    kms = aws.client("kms", region)
    alias = or_none(lambda: kms.describe_key(KeyId=ALIAS), "NotFoundException")
    if alias is not None:
        arn, state = str(alias["KeyMetadata"]["Arn"]), alias["KeyMetadata"]["KeyState"]
        if not _is_ours(kms, arn):
            raise EmrError(f"{ALIAS} names a key that is not emrlab's: it lacks the tag; give it another alias")
        if state != "Enabled":
            raise EmrError(f"the key of {ALIAS} is {state}; enable it, or remove the alias for a new one")
        return arn
    made = change(f"there: KMS key {ALIAS} for the disks ({PRICE})", lambda: _create(region))
    return str(made or f"arn:aws:kms:{region}:{account}:key/NEW")


def let_spot_use(key: str, region: str, account: str, change: Change) -> None:
    """Grant the key to the role that starts spot machines, which must be there.

    Raises:
        EmrError: KMS does not know the new key's tag yet.
        ClientError, BotoCoreError: AWS refuses.
    """
    kms, spot = aws.client("kms", region), f"arn:aws:iam::{account}:{SPOT_ROLE}"
    if not key.endswith("/NEW"):
        try:
            grants = list(aws.pages(kms, "list_grants", "Grants", KeyId=key))
        except AWS_ERRORS as error:
            if aws.code(error) == "AccessDeniedException":
                raise EmrError(
                    "the key's tag is not known to KMS yet, which takes up to five minutes, or this key of yours lacks "
                    "policies/emr/key.json; run this again then"
                ) from error
            raise
        if any(grant.get("Name") == SPOT_GRANT for grant in grants):
            return
    change(
        f"usable by spot machines: KMS key {ALIAS}",
        lambda: kms.create_grant(KeyId=key, GranteePrincipal=spot, Operations=list(SPOT_RIGHTS), Name=SPOT_GRANT),
    )


def remove(region: str, change: Change) -> None:
    """Let the key that is ours end, and free its name.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    arn = find(region)
    if arn is None:
        return
    kms, name = aws.client("kms", region), arn.rpartition("/")[2]

    def end() -> None:
        if kms.describe_key(KeyId=name)["KeyMetadata"]["KeyState"] != "PendingDeletion":
            kms.schedule_key_deletion(KeyId=name, PendingWindowInDays=PENDING_DAYS)
        kms.delete_alias(AliasName=ALIAS)

    change(f"gone in {PENDING_DAYS} days: KMS key {ALIAS}", end)


def _create(region: str) -> str:
    kms = aws.client("kms", region)
    try:
        made = aws.once("kms", region).create_key(
            Description="disks of EMR clusters that emrlab starts",
            Tags=[{"TagKey": TAG["Key"], "TagValue": TAG["Value"]}],
        )["KeyMetadata"]
    except HTTPClientError as error:
        raise EmrError(
            "the answer to CreateKey was lost; look in the KMS console for a new key with the tag emrlab and "
            "without an alias, delete it there, and run this again"
        ) from error
    try:
        kms.create_alias(AliasName=ALIAS, TargetKeyId=made["KeyId"])
    except BaseException:  # Ctrl-C too: nobody would find it again, and pay for it
        _end_nameless(kms, str(made["KeyId"]))
        raise
    return str(made["Arn"])


def _end_nameless(kms: Any, key: str) -> None:
    try:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=PENDING_DAYS)
    except AWS_ERRORS as error:
        raise EmrError(
            f"KMS key {key} got no alias and cannot be removed from here; delete it in the console: it costs {PRICE}"
        ) from error


def _is_ours(kms: Any, key: str) -> bool:
    return {"TagKey": TAG["Key"], "TagValue": TAG["Value"]} in kms.list_resource_tags(KeyId=key)["Tags"]
