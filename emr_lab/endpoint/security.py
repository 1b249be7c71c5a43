"""Security configurations: JSON of EMR's documented shape. Runtime roles are what the lab takes of them.

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-create-security-configuration.html
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-steps-runtime-roles.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.emr.exceptions import InvalidRequestException

# A member is an object of members, a list of them, one of several texts, a range, or a value of a type; a `dict` may
# hold what it likes.
_OWN_PROVIDER = {"S3Object": str, "EncryptionKeyProviderClass": str}
_SHAPE: Mapping[str, Any] = {
    "EncryptionConfiguration": {
        "EnableInTransitEncryption": bool,
        "EnableAtRestEncryption": bool,
        "InTransitEncryptionConfiguration": {
            "TLSCertificateConfiguration": {
                "CertificateProviderType": ("EMR", "PEM", "Custom"),
                "S3Object": str,
                "CertificateProviderClass": str,
                "AwsKmsKey": str,
                "SecretTags": [{"Key": str, "Value": str}],
                "ValidityInDays": int,
                "WildcardDnsSuffix": str,
            }
        },
        "AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {
                "EncryptionMode": ("SSE-S3", "SSE-KMS", "CSE-KMS", "CSE-Custom"),
                "AwsKmsKey": str,
                "Overrides": [dict],
                **_OWN_PROVIDER,
            },
            "LocalDiskEncryptionConfiguration": {
                "EnableEbsEncryption": bool,
                "EncryptionKeyProviderType": ("AwsKms", "Custom"),
                "AwsKmsKey": str,
                **_OWN_PROVIDER,
            },
        },
        "EMRWALEncryptionConfiguration": {"AwsKmsKey": str},
    },
    "AuthenticationConfiguration": {
        "KerberosConfiguration": {
            "Provider": ("ClusterDedicatedKdc", "ExternalKdc"),
            "ClusterDedicatedKdcConfiguration": dict,
            "ExternalKdcConfiguration": dict,
        },
        "IdentityCenterConfiguration": dict,
    },
    "AuthorizationConfiguration": {
        "EmrFsConfiguration": {
            "RoleMappings": [{"Role": str, "IdentifierType": ("User", "Prefix", "Group"), "Identifiers": [str]}]
        },
        "IAMConfiguration": {
            "EnableApplicationScopedIAMRole": bool,
            "ApplicationScopedIAMRoleConfiguration": {"PropagateSourceIdentity": bool},
        },
        "LakeFormationConfiguration": dict,
        "RangerConfiguration": dict,
    },
    "InstanceMetadataServiceConfiguration": {
        "MinimumInstanceMetadataServiceVersion": range(1, 3),
        "HttpPutResponseHopLimit": range(1, 65),
    },
}
# What must stand in an object: always, or beside a value of another of its members. EMR's flags may be texts.
_TRUE = (True, "true")
_REQUIRED: Mapping[str, tuple[tuple[str, tuple[object, ...] | None, tuple[str, ...]], ...]] = {
    "EncryptionConfiguration": (
        ("EnableInTransitEncryption", _TRUE, ("InTransitEncryptionConfiguration",)),
        ("EnableAtRestEncryption", _TRUE, ("AtRestEncryptionConfiguration",)),
    ),
    "TLSCertificateConfiguration": (
        ("", None, ("CertificateProviderType",)),
        ("CertificateProviderType", ("PEM", "Custom"), ("S3Object",)),
        ("CertificateProviderType", ("Custom",), ("CertificateProviderClass",)),
    ),
    "S3EncryptionConfiguration": (
        ("", None, ("EncryptionMode",)),
        ("EncryptionMode", ("SSE-KMS", "CSE-KMS"), ("AwsKmsKey",)),
        ("EncryptionMode", ("CSE-Custom",), tuple(_OWN_PROVIDER)),
    ),
    "LocalDiskEncryptionConfiguration": (
        ("", None, ("EncryptionKeyProviderType",)),
        ("EncryptionKeyProviderType", ("AwsKms",), ("AwsKmsKey",)),
        ("EncryptionKeyProviderType", ("Custom",), tuple(_OWN_PROVIDER)),
    ),
    "KerberosConfiguration": (
        ("", None, ("Provider",)),
        ("Provider", ("ClusterDedicatedKdc",), ("ClusterDedicatedKdcConfiguration",)),
        ("Provider", ("ExternalKdc",), ("ExternalKdcConfiguration",)),
    ),
    "EmrFsConfiguration": (("", None, ("RoleMappings",)),),
    "RoleMappings": (("", None, ("Role", "IdentifierType", "Identifiers")),),
    "InstanceMetadataServiceConfiguration": (
        ("", None, ("MinimumInstanceMetadataServiceVersion", "HttpPutResponseHopLimit")),
    ),
}
_NAMES = {bool: "true or false", str: "a text", int: "a whole number", dict: "an object"}


def check(content: str) -> None:
    """Return, if `content` is a security configuration that EMR takes.

    Raises:
        InvalidRequestException: it is no JSON, or not of the documented shape.
    """
    try:
        problem = next(_problems(json.loads(content), _SHAPE, "object"), None)
    except (ValueError, RecursionError):
        problem = "it is no JSON"
    if problem:
        raise InvalidRequestException(f"Invalid security configuration; {problem}.")


def has_runtime_roles(content: str) -> bool:
    """Whether steps of its clusters have roles of their own; `content` has passed `check`."""
    iam = json.loads(content).get("AuthorizationConfiguration", {}).get("IAMConfiguration", {})
    return iam.get("EnableApplicationScopedIAMRole") in _TRUE


def has_kerberos(content: str) -> bool:
    """Whether its clusters ask who one is by Kerberos; `content` has passed `check`."""
    return "KerberosConfiguration" in json.loads(content).get("AuthenticationConfiguration", {})


def _problems(value: Any, shape: Any, name: str) -> Iterator[str]:
    """Yield what is wrong with a member and what it holds."""
    if isinstance(shape, Mapping):
        yield from _problems_of_object(value, shape, name)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{name} must be a list"
            return
        for each in value:
            yield from _problems(each, shape[0], name)
    elif isinstance(shape, tuple):
        if value not in shape:
            yield f"{name} must be one of {', '.join(shape)}"
    elif isinstance(shape, range):
        if isinstance(value, bool) or not isinstance(value, int) or value not in shape:
            yield f"{name} must be a whole number from {shape.start} to {shape.stop - 1}"
    elif not _is_of_type(value, shape):
        yield f"{name} must be {_NAMES[shape]}"


def _problems_of_object(value: Any, shape: Mapping[str, Any], name: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{name} must be an object"
        return
    if unknown := sorted(value.keys() - shape.keys()):
        yield f"{name} has invalid properties: [{', '.join(' '.join(each.split())[:100] for each in unknown)}]"
    for member, inner in value.items():
        if member in shape:
            yield from _problems(inner, shape[member], member)
    for member, values, needed in _REQUIRED.get(name, ()):
        if values is None or value.get(member) in values:
            beside = f" beside {member} {value[member]}" if member else ""
            for each in needed:
                if each not in value:
                    yield f"{name} must have {each}{beside}"


def _is_of_type(value: Any, kind: type) -> bool:
    if kind is bool:
        return isinstance(value, bool) or value in ("true", "false")
    return isinstance(value, kind) and not isinstance(value, bool)
