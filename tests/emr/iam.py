"""IAM in small: whether documents allow a request, and which requests a call of boto3 is to IAM.

Of the language of policies it knows what policies/ use, and raises on the rest: a condition that is not understood must
not pass for one that holds. What a call is authorized as (its actions, resources and condition keys) is written down
here after the service authorization reference: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.emr.conftest import ACCOUNT, REGION

Values = str | Sequence[str]


@dataclass(frozen=True)
class Request:
    """What IAM is asked: an action on one resource, and what is known besides."""

    action: str
    resource: str = "*"
    context: Mapping[str, Values] = field(default_factory=dict)


def allowed(statements: Iterable[Mapping[str, Any]], request: Request) -> bool:
    """Whether a statement allows the request and none denies it."""
    effects = {each["Effect"] for each in statements if _applies(each, request)}
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    if unknown := set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
        raise AssertionError(f"this evaluator does not know {unknown}")
    return (
        any(_like(request.action.lower(), each.lower()) for each in _list(statement["Action"]))
        and any(_like(request.resource, each) for each in _list(statement["Resource"]))
        and all(
            _holds(operator, {name.lower(): value for name, value in request.context.items()}, key.lower(), values)
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _holds(operator: str, context: Mapping[str, Values], key: str, wanted: Values) -> bool:
    have = context.get(key)
    if operator == "Null":
        return (have is None) == (wanted == "true")
    quantifier, _, name = operator.rpartition(":")
    fits: Callable[[str, str], bool] = {
        "StringEquals": str.__eq__,
        "StringLike": _like,
        "ArnEquals": _like,
        "ArnLike": _like,
        "Bool": str.__eq__,
    }[name]
    found = [any(fits(value, pattern) for pattern in _list(wanted)) for value in _list(have or ())]
    if quantifier == "ForAllValues":
        return all(found)  # of nothing too
    assert quantifier in {"", "ForAnyValue"}
    return any(found)


def _like(value: str, pattern: str) -> bool:
    """* and ? as wildcards, ${*} and ${?} for themselves."""
    literal = {"${*}": r"\*", "${?}": r"\?", "*": ".*", "?": "."}
    parts = re.split(r"(\$\{[*?]\}|[*?])", pattern)
    return re.fullmatch("".join(literal.get(part, re.escape(part)) for part in parts), value) is not None


def _list(values: Values) -> Sequence[str]:
    return [values] if isinstance(values, str) else values


# What a call is to IAM. The tags and the boundary of what it acts on are looked up as they are at that moment.

ROLE, PROFILE, POLICY = (f"arn:aws:iam::{ACCOUNT}:{kind}/" for kind in ("role", "instance-profile", "policy"))
CLUSTER, KMS = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/", f"arn:aws:kms:{REGION}:{ACCOUNT}:"
# Of a cluster that is about to be: it has no id yet, and is named by an asterisk.
NEW_CLUSTER = f"{CLUSTER}*"
# What IAM calls an operation, where that is another name.
NAMED = {
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadObject": "GetObject",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "CreateBudget": "ModifyBudget",
    "DeleteBudget": "ModifyBudget",
    "DescribeBudget": "ViewBudget",
}


def requests(service: str, operation: str, asked: Mapping[str, Any]) -> list[Request]:
    """What IAM must allow for a call of boto3's `service` with these parameters."""
    made = {
        "budgets": _budgets,
        "ec2": _ec2,
        "emr": _emr,
        "freetier": _anywhere,
        "iam": _iam,
        "kms": _kms,
        "pricing": _anywhere,
        "s3": _s3,
        "sts": lambda *_: [],  # needs no right
    }[service]
    prefix = "elasticmapreduce" if service == "emr" else service
    return list(made(partial(_request, prefix), operation, asked))


def _request(
    prefix: str, operation: str, resource: str = "*", of: Mapping[str, Values] = MappingProxyType({})
) -> Request:
    return Request(f"{prefix}:{NAMED.get(operation, operation)}", resource, of)


Make = Callable[..., Request]


def _anywhere(make: Make, operation: str, _: Mapping[str, Any]) -> Iterable[Request]:
    yield make(operation)


def _budgets(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    name = asked.get("BudgetName") or asked["Budget"]["BudgetName"]
    yield make(operation, f"arn:aws:budgets::{ACCOUNT}:budget/{name}")


def _s3(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    bucket = f"arn:aws:s3:::{asked['Bucket']}"
    context = {"aws:ResourceAccount": ACCOUNT}
    if operation == "ListObjectsV2" and "Prefix" in asked:
        context["s3:prefix"] = asked["Prefix"]
    if operation == "DeleteObjects":
        for each in asked["Delete"]["Objects"]:
            yield make("DeleteObject", f"{bucket}/{each['Key']}", of=context)
            yield make("DeleteObjectVersion", f"{bucket}/{each['Key']}", of=context)
        return
    yield make(operation, f"{bucket}/{asked['Key']}" if "Key" in asked else bucket, of=context)


def _ec2(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    if operation not in {"CreateTags", "DeleteTags"}:
        yield make(operation)
        return
    ec2 = boto3.client("ec2", region_name=REGION)
    tagged = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": asked["Resources"]}])["Tags"]
    for name in asked["Resources"]:
        tags = [{"Key": each["Key"], "Value": each["Value"]} for each in tagged if each["ResourceId"] == name]
        arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{name.partition('-')[0]}/{name}"
        yield make(operation, arn, of=_on(tags) | _with(asked["Tags"]))


def _emr(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    if operation == "RunJobFlow":
        yield make(operation, of=_with(asked["Tags"]))
        yield make("AddTags", NEW_CLUSTER)
        yield make("PutAutoTerminationPolicy", NEW_CLUSTER)
        yield _pass_role(asked["ServiceRole"], "elasticmapreduce.amazonaws.com")
        yield _pass_role(asked["JobFlowRole"], "ec2.amazonaws.com")
        return
    names = asked.get("JobFlowIds") or [asked.get(name) for name in ("ClusterId", "JobFlowId", "ResourceId")]
    found = [name for name in names if name]
    emr = boto3.client("emr", region_name=REGION)
    for name in found:
        tags = emr.describe_cluster(ClusterId=name)["Cluster"].get("Tags", ())
        context = {f"elasticmapreduce:ResourceTag/{tag['Key']}": tag["Value"] for tag in tags}
        yield make(operation, f"{CLUSTER}{name}", of=context | _with(asked.get("Tags", ())))
    if not found:
        yield make(operation)


def _iam(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    iam = boto3.client("iam", region_name=REGION)
    policy = {"iam:PolicyARN": asked["PolicyArn"]} if "PolicyArn" in asked else {}
    if operation == "CreateServiceLinkedRole":
        name = asked["AWSServiceName"]
        yield make(operation, f"{ROLE}aws-service-role/{name}/x", of={"iam:AWSServiceName": name})
    elif "InstanceProfileName" in asked:
        arn = f"{PROFILE}{asked['InstanceProfileName']}"
        yield make(operation, arn, of=_with(asked.get("Tags", ())))
        if operation == "CreateInstanceProfile":
            yield make("TagInstanceProfile", arn, of=_with(asked["Tags"]))
        if operation == "AddRoleToInstanceProfile":
            yield _pass_role(asked["RoleName"], "ec2.amazonaws.com")
    elif "RoleName" in asked:
        try:
            role = iam.get_role(RoleName=asked["RoleName"])["Role"]
        except ClientError:
            role = {}
        bound = asked.get("PermissionsBoundary") or role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        context = {"iam:PermissionsBoundary": bound} if bound else {}
        tags = asked.get("Tags") or [{"Key": key, "Value": ""} for key in asked.get("TagKeys", ())]
        context |= policy | _on(role.get("Tags", ())) | _with(tags)
        yield make(operation, f"{ROLE}{asked['RoleName']}", of=context)
        if operation == "CreateRole":
            yield make("TagRole", f"{ROLE}{asked['RoleName']}", of=_with(tags))
    elif "PolicyArn" in asked:
        yield make(operation, asked["PolicyArn"])
    elif "PolicyName" in asked:
        yield make(operation, f"{POLICY}{asked['PolicyName']}")
    else:
        yield make(operation)


def _kms(make: Make, operation: str, asked: Mapping[str, Any]) -> Iterable[Request]:
    if operation == "CreateKey":
        tags = [{"Key": each["TagKey"], "Value": each["TagValue"]} for each in asked.get("Tags", ())]
        yield make(operation, of=_with(tags))
        if tags:
            yield make("TagResource", f"{KMS}key/NEW", of=_with(tags))
        return
    alias = asked.get("AliasName")
    if alias:
        yield make(operation, f"{KMS}{alias}")
    name = asked.get("TargetKeyId") or asked.get("KeyId") or alias
    kms = boto3.client("kms", region_name=REGION)
    try:
        key = kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"]
    except ClientError:  # there is none
        yield make(operation, f"{KMS}key/NONE")
        return
    tags = [{"Key": each["TagKey"], "Value": each["TagValue"]} for each in kms.list_resource_tags(KeyId=key)["Tags"]]
    context = _on(tags) | _with([{"Key": each["TagKey"], "Value": each["TagValue"]} for each in asked.get("Tags", ())])
    if aliases := [each["AliasName"] for each in kms.list_aliases(KeyId=key)["Aliases"]]:
        context["kms:ResourceAliases"] = aliases
    if "GranteePrincipal" in asked:
        context["kms:GranteePrincipal"] = asked["GranteePrincipal"]
    yield make(operation, f"{KMS}key/{key}", of=context)


def _pass_role(role: str, service: str) -> Request:
    return Request("iam:PassRole", f"{ROLE}{role}", {"iam:PassedToService": service})


def _on(tags: Iterable[Mapping[str, str]]) -> dict[str, Values]:
    return {f"aws:ResourceTag/{tag['Key']}": tag["Value"] for tag in tags}


def _with(tags: Iterable[Mapping[str, str]]) -> dict[str, Values]:
    tags = list(tags)
    keys: dict[str, Values] = {"aws:TagKeys": [tag["Key"] for tag in tags]} if tags else {}
    return keys | {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}
