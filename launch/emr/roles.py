"""The roles of EMR and of its nodes: made with the rights in `policies/`, and removed where they have our tag.

Whatever rights they are given, a boundary holds: a policy that only an administrator may make or change. Who has no
more than policies/emr/setup.json makes roles within it and none without, so that it is no way to more rights.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from launch.emr import aws, policies
from launch.emr.aws import AWS_ERRORS, NAME, NODE_ROLE, SERVICE_ROLE, TAG, EmrError
from launch.emr.change import Change, or_none

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
BOUNDARY = f"{NAME}-boundary"
VERSIONS = 5  # of a policy, that IAM keeps
# Whose own roles there must be: one ends what a cluster leaves behind, the other asks for spot machines. They stay.
SERVICE_LINKED = ("elasticmapreduce.amazonaws.com", "spot.amazonaws.com")


def ensure(region: str, values: dict[str, str], change: Change) -> None:
    """The boundary, EMR's role, the nodes' role with its instance profile, and Amazon's own two.

    Args:
        region: of a client; roles are the account's.
        values: account and bucket; the ARN of the disks' key, where it is one's own.
        change: makes and says.

    Raises:
        EmrError: something of these names is not ours, or an administrator is needed.
        ClientError, BotoCoreError: AWS refuses.
    """
    iam = aws.client("iam", region)
    _boundary(iam, values, change)
    service, node = ["emr/service"], ["job", "emr/node"]
    if "key" in values:
        service, node = [*service, "emr/service-key"], [*node, "emr/node-key"]
    _role(iam, SERVICE_ROLE, trust="emr/service-trust", grants=service, values=values, change=change)
    _role(iam, NODE_ROLE, trust="emr/node-trust", grants=node, values=values, change=change)
    attached = or_none(lambda: iam.list_attached_role_policies(RoleName=SERVICE_ROLE), "NoSuchEntity")
    if SERVICE_POLICY not in {each["PolicyArn"] for each in (attached or {}).get("AttachedPolicies", ())}:
        change(
            f"attached: AmazonEMRServicePolicy_v2 to {SERVICE_ROLE}",
            lambda: iam.attach_role_policy(RoleName=SERVICE_ROLE, PolicyArn=SERVICE_POLICY),
        )
    profile = or_none(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE), "NoSuchEntity")
    if profile is None:
        change(
            f"there: instance profile {NODE_ROLE}",
            lambda: iam.create_instance_profile(InstanceProfileName=NODE_ROLE, Tags=[TAG]),
        )
    elif TAG not in profile["InstanceProfile"].get("Tags", ()):
        raise EmrError(_foreign("an instance profile", NODE_ROLE))
    if profile is None or not profile["InstanceProfile"]["Roles"]:
        change(
            f"in the instance profile: role {NODE_ROLE}",
            lambda: iam.add_role_to_instance_profile(InstanceProfileName=NODE_ROLE, RoleName=NODE_ROLE),
        )
    for amazons in SERVICE_LINKED:
        if not iam.list_roles(PathPrefix=f"/aws-service-role/{amazons}/")["Roles"]:
            create = partial(iam.create_service_linked_role, AWSServiceName=amazons)
            change(f"there: the role of {amazons} itself", create)


def remove(region: str, account: str, change: Change) -> None:
    """Remove the instance profile, the roles and the boundary that have our tag.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    iam = aws.client("iam", region)
    profile = or_none(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE), "NoSuchEntity")
    if profile and TAG in profile["InstanceProfile"].get("Tags", ()):
        change(f"gone: instance profile {NODE_ROLE}", partial(_remove_profile, iam, profile["InstanceProfile"]))
    for role in (NODE_ROLE, SERVICE_ROLE):
        existing = or_none(partial(iam.get_role, RoleName=role), "NoSuchEntity")
        if existing and TAG in existing["Role"].get("Tags", ()):
            change(f"gone: role {role}", partial(_remove_role, iam, role))
    arn = f"arn:aws:iam::{account}:policy/{BOUNDARY}"
    policy = or_none(lambda: iam.get_policy(PolicyArn=arn), "NoSuchEntity")
    if policy and TAG in policy["Policy"].get("Tags", ()):
        change(
            f"gone, if you may remove it: policy {BOUNDARY}, which grants nothing and costs nothing",
            partial(_remove_boundary, iam, arn),
        )


def _mend(iam: Any, role: dict[str, Any], trusted: dict[str, Any], boundary: str, change: Change) -> None:
    name = role["RoleName"]
    # First of all: without the boundary setup may give the role no rights.
    if role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") != boundary:
        change(
            f"within {BOUNDARY}: role {name}",
            lambda: iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary),
        )
    if role["AssumeRolePolicyDocument"] != trusted:
        change(
            f"as wanted: who may take on {name}",
            lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusted)),
        )


def _boundary(iam: Any, values: dict[str, str], change: Change) -> None:
    arn, document = _boundary_arn(values), policies.document("emr/boundary", **values)
    policy = or_none(lambda: iam.get_policy(PolicyArn=arn), "NoSuchEntity")
    text = json.dumps(document)
    if policy is None:
        create = partial(iam.create_policy, PolicyName=BOUNDARY, PolicyDocument=text, Tags=[TAG])
        change(f"there: policy {BOUNDARY}, which holds the roles' rights within bounds", _by_administrator(create))
        return
    if TAG not in policy["Policy"].get("Tags", ()):
        raise EmrError(_foreign("a policy", BOUNDARY))
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["Policy"]["DefaultVersionId"])["PolicyVersion"]
    if version["Document"] == document:
        return

    def replace() -> None:
        old = [each["VersionId"] for each in _versions(iam, arn) if not each["IsDefaultVersion"]]
        if len(old) >= VERSIONS - 1:
            iam.delete_policy_version(PolicyArn=arn, VersionId=old[-1])
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)

    change(f"as in policies/emr/boundary.json: policy {BOUNDARY}", _by_administrator(replace))


def _by_administrator(make: Callable[[], Any]) -> Callable[[], Any]:
    def made() -> Any:
        try:
            return make()
        except AWS_ERRORS as error:
            if aws.code(error) == "AccessDenied":
                raise EmrError(
                    f"the policy {BOUNDARY} is for an administrator to make or change, lest roles get more rights than "
                    "it leaves them; let one run emr-setup once, or make it of what emr-plan prints"
                ) from error
            raise

    return made


def _remove_boundary(iam: Any, arn: str) -> None:
    try:
        for version in _versions(iam, arn):
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=arn)
    except AWS_ERRORS as error:
        if aws.code(error) != "AccessDenied":
            raise


def _versions(iam: Any, arn: str) -> list[dict[str, Any]]:
    """All versions of a policy, the newest first."""
    return list(aws.pages(iam, "list_policy_versions", "Versions", PolicyArn=arn))


def _boundary_arn(values: dict[str, str]) -> str:
    return f"arn:aws:iam::{values['account']}:policy/{BOUNDARY}"


def _role(iam: Any, name: str, *, trust: str, grants: list[str], values: dict[str, str], change: Change) -> None:
    trusted, boundary = policies.document(trust, **values), _boundary_arn(values)
    existing = or_none(lambda: iam.get_role(RoleName=name), "NoSuchEntity")
    if existing is None:
        change(
            f"there: role {name}",
            lambda: iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(trusted),
                PermissionsBoundary=boundary,
                Tags=[TAG],
            ),
        )
    elif TAG not in existing["Role"].get("Tags", ()):
        raise EmrError(_foreign("a role", name))
    else:
        _mend(iam, existing["Role"], trusted, boundary, change)
    for grant in grants:
        document, inline = policies.document(grant, **values), {"RoleName": name, "PolicyName": grant.replace("/", "-")}
        granted = or_none(partial(iam.get_role_policy, **inline), "NoSuchEntity")
        if granted is None or granted["PolicyDocument"] != document:
            put = partial(iam.put_role_policy, **inline, PolicyDocument=json.dumps(document))
            change(f"as in policies/{grant}.json: rights of {name}", put)


def _remove_profile(iam: Any, profile: dict[str, Any]) -> None:
    for role in profile["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=NODE_ROLE, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=NODE_ROLE)


def _remove_role(iam: Any, role: str) -> None:
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    iam.delete_role(RoleName=role)


def _foreign(what: str, name: str) -> str:
    return f"the account has {what} {name} that is not emrlab's: it lacks the tag; rename or remove it"
