"""The roles of EMR and of its nodes: made with the rights in `policies/`, and removed where they have our tag."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from launch.emr import aws, policies
from launch.emr.aws import NODE_ROLE, SERVICE_ROLE, TAG, EmrError
from launch.emr.change import Change, or_none

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
# Whose own roles there must be: one ends what a cluster leaves behind, the other asks for spot machines. They stay.
SERVICE_LINKED = ("elasticmapreduce.amazonaws.com", "spot.amazonaws.com")


def ensure(region: str, values: dict[str, str], change: Change) -> None:
    """The service's role, the nodes' role with its instance profile, and Amazon's own two."""
    iam = aws.client("iam", region)
    _role(iam, SERVICE_ROLE, trust="emr/service-trust", grants=["emr/service"], values=values, change=change)
    _role(iam, NODE_ROLE, trust="emr/node-trust", grants=["job", "emr/node"], values=values, change=change)
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
    for service in SERVICE_LINKED:
        if not iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
            create = partial(iam.create_service_linked_role, AWSServiceName=service)
            change(f"there: the role of {service} itself", create)


def remove(region: str, change: Change) -> None:
    """Remove the instance profile and the roles that have our tag.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    iam = aws.client("iam", region)
    profile = or_none(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE), "NoSuchEntity")
    if profile and TAG in profile["InstanceProfile"].get("Tags", ()):
        change(f"gone: instance profile {NODE_ROLE}", partial(_remove_profile, iam, profile["InstanceProfile"]))
    for role in (NODE_ROLE, SERVICE_ROLE):
        found = or_none(partial(iam.get_role, RoleName=role), "NoSuchEntity")
        if found and TAG in found["Role"].get("Tags", ()):
            change(f"gone: role {role}", partial(_remove_role, iam, role))


def _role(iam: Any, name: str, *, trust: str, grants: list[str], values: dict[str, str], change: Change) -> None:
    trusted = policies.document(trust, **values)
    found = or_none(lambda: iam.get_role(RoleName=name), "NoSuchEntity")
    if found is None:
        change(
            f"there: role {name}",
            lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusted), Tags=[TAG]),
        )
    elif TAG not in found["Role"].get("Tags", ()):
        raise EmrError(_foreign("a role", name))
    elif found["Role"]["AssumeRolePolicyDocument"] != trusted:
        change(
            f"as wanted: who may take on {name}",
            lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusted)),
        )
    for grant in grants:
        wanted, inline = policies.document(grant, **values), {"RoleName": name, "PolicyName": grant.replace("/", "-")}
        have = or_none(partial(iam.get_role_policy, **inline), "NoSuchEntity")
        if have is None or have["PolicyDocument"] != wanted:
            put = partial(iam.put_role_policy, **inline, PolicyDocument=json.dumps(wanted))
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
