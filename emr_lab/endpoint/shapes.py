"""Checks a request against the shapes of EMR's API: types, lengths, ranges and enumerations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape
from botocore.validate import ParamValidator

_WIDTHS = {"integer": 2**31, "long": 2**63}
# Which texts EMR takes, as its API reference writes it, and the same for Python: what XML can hold.
_XML_PATTERN = r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*"
_XML_TEXT = re.compile("[\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff\r\n\t]*")
_LATEST_S = 253_402_300_799  # the last second of the year 9999


def problem(request: dict[str, Any], shape: Shape | None) -> str | None:
    """Return what is wrong with a request in one line, as Amazon words it; None for a valid one."""
    if shape is None:
        return None
    try:
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            return " ".join(report.generate_report().split())
        return next(_violations(request, shape, ""), None)
    except (RecursionError, OverflowError, RuntimeError, ValueError) as error:  # too deep; no time that there is
        return f"The request cannot be read: {' '.join(str(error).split())[:200]}"


def _violations(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Yield what botocore's own check, which has gone before, lets through."""
    kind = shape.type_name
    if kind == "structure":
        for name, inner in value.items():
            yield from _violations(inner, shape.members[name], f"{path}.{name[0].lower()}{name[1:]}".lstrip("."))
    elif kind == "list":
        yield from _limit_violations(len(value), shape, path, "length")
        for number, inner in enumerate(value, start=1):
            yield from _violations(inner, shape.member, f"{path}.{number}.member")
    elif kind == "map":
        for key, inner in value.items():
            yield from _violations(key, shape.key, f"{path}.key")
            yield from _violations(inner, shape.value, f"{path}.{key}")
    elif kind == "string":
        yield from _text_violations(value, shape, path)
    elif kind in _WIDTHS:
        if isinstance(value, bool) or not -_WIDTHS[kind] <= value < _WIDTHS[kind]:
            yield _message(value, path, f"Member must be a whole number of {_WIDTHS[kind].bit_length()} bits")
        yield from _limit_violations(value, shape, path, "value")
    elif kind in {"double", "float"} and (isinstance(value, bool) or not math.isfinite(value)):
        yield _message(value, path, "Member must be a number")
    elif kind == "timestamp" and (isinstance(value, (bool, str)) or not 0 <= value <= _LATEST_S):
        yield _message(value, path, "Member must be a number of seconds since 1970")


def _text_violations(value: str, shape: Any, path: str) -> Iterator[str]:
    yield from _limit_violations(len(value), shape, path, "length")
    if not _XML_TEXT.fullmatch(value):
        yield _message("", path, f"Member must satisfy regular expression pattern: {_XML_PATTERN}")
    if shape.enum and value not in shape.enum:
        yield _message(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _limit_violations(number: int, shape: Any, path: str, what: str) -> Iterator[str]:
    maximum = shape.metadata.get("max")
    if maximum is not None and number > maximum:
        yield _message("", path, f"Member must have {what} less than or equal to {maximum}, not {number}")


def _message(value: Any, path: str, constraint: str) -> str:
    shown = " ".join(str(value).split())[:100]
    return f"1 validation error detected: Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
