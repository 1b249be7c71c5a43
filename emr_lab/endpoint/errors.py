"""Errors that moto has no class for. A request that is refused gets one of these, or one of moto.emr.exceptions."""

from __future__ import annotations

from moto.emr.exceptions import InvalidRequestException


class RefusalError(Exception):
    """A request that is refused: the error's code, and one line with the cause."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FleetClusterError(InvalidRequestException):
    """What is for instance groups was asked of a cluster that has fleets."""

    error_code = "API_DOES_NOT_SUPPORT_INSTANCE_FLEET_CLUSTERS"


def mutually_exclusive(*, uniform: bool, advice: str) -> InvalidRequestException:
    """Return the refusal of what is for fleets and was asked of a cluster with groups (`uniform`), or the reverse."""
    error, kind = (InvalidRequestException, "groups") if uniform else (FleetClusterError, "fleets")
    return error(
        "Instance fleets and instance groups are mutually exclusive. "
        f"The EMR cluster specified in the request uses instance {kind}. {advice}"
    )


class NotOfferedError(RefusalError):
    """EMR has it, the lab has not."""

    def __init__(self, message: str) -> None:
        super().__init__("NotImplemented", message)
