"""Operations on the security configurations of a region."""

from __future__ import annotations

from typing import Any

from moto.emr.exceptions import InvalidRequestException

from emr_lab.endpoint import security, serializers
from emr_lab.endpoint.operations.emr import Emr, Members, page
from emr_lab.endpoint.records import SecurityConfiguration


def create_security_configuration(emr: Emr, request: Members) -> dict[str, Any]:
    """Remember it, for the clusters that will name it."""
    name, content = request["Name"], request["SecurityConfiguration"]
    if not name.strip():
        raise InvalidRequestException("The name of a security configuration must not be empty.")
    security.check(content)
    with emr.state.change():
        if any(each.name == name for each in emr.security_configurations()):
            raise InvalidRequestException(f"Security configuration with name '{name[:100]}' already exists.")
        configuration = SecurityConfiguration(
            name=name, region=emr.region, content=content, created_s=emr.state.clock()
        )
        emr.state.store.security_configurations.append(configuration)
    return serializers.security_configuration_summary(configuration)


def describe_security_configuration(emr: Emr, request: Members) -> dict[str, Any]:
    """One security configuration, its JSON as it came."""
    with emr.state.lock:
        configuration = _security_configuration(emr, request["Name"])
    summary = serializers.security_configuration_summary(configuration)
    return {**summary, "SecurityConfiguration": configuration.content}


def list_security_configurations(emr: Emr, request: Members) -> dict[str, Any]:
    """The region's, oldest first."""
    with emr.state.lock:
        summaries = [serializers.security_configuration_summary(each) for each in emr.security_configurations()]
    return page("SecurityConfigurations", summaries, request)


def delete_security_configuration(emr: Emr, request: Members) -> dict[str, Any]:
    """Forget it; clusters that named it keep what it asked for."""
    with emr.state.change():
        emr.state.store.security_configurations.remove(_security_configuration(emr, request["Name"]))
    return {}


def _security_configuration(emr: Emr, name: str) -> SecurityConfiguration:
    configuration = next((each for each in emr.security_configurations() if each.name == name), None)
    if configuration is None:
        raise InvalidRequestException(f"Security configuration with name '{name[:100]}' does not exist.")
    return configuration
