"""Errors that moto has no class for. A request that is refused gets one of these, or one of moto.emr.exceptions."""

from __future__ import annotations


class RefusalError(Exception):
    """A request that is refused: the error's code, and one line with the cause."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotOfferedError(RefusalError):
    """EMR has it, the lab has not."""

    def __init__(self, message: str) -> None:
        super().__init__("NotImplemented", message)
