"""Whether a request has the shape of EMR's API: types, lengths, ranges, and the words that a member may have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape
from botocore.validate import ParamValidator

_WIDTHS = {"integer": 2**31, "long": 2**63}
_LATEST_S = 253_402_300_799  # the last second of the year 9999


def problem(request: dict[str, Any], shape: Shape | None) -> str | None:
    """What is wrong with a request in one line, as Amazon words it; None where all is well."""
    if shape is None:
        return None
    try:
        found = ParamValidator().validate(request, shape)
        if found.has_errors():
            return " ".join(found.generate_report().split())
        wrong = next(_wrong(request, shape, ""), None)
    except (RecursionError, OverflowError, RuntimeError, ValueError) as error:  # too deep; no time that there is
        wrong = f"The request cannot be read: {' '.join(str(error).split())[:200]}"
    return wrong


def _wrong(value: Any, shape: Any, path: str) -> Iterator[str]:
    """What botocore's own check, which has gone before, lets through."""
    kind = shape.type_name
    if kind == "structure":
        for name, inner in value.items():
            yield from _wrong(inner, shape.members[name], f"{path}.{name[0].lower()}{name[1:]}".lstrip("."))
    elif kind == "list":
        yield from _too_much(len(value), shape, path, "length")
        for number, inner in enumerate(value, start=1):
            yield from _wrong(inner, shape.member, f"{path}.{number}.member")
    elif kind == "map":
        for key, inner in value.items():
            yield from _wrong(key, shape.key, f"{path}.key")
            yield from _wrong(inner, shape.value, f"{path}.{key}")
    elif kind == "string":
        yield from _wrong_text(value, shape, path)
    elif kind in _WIDTHS:
        if isinstance(value, bool) or not -_WIDTHS[kind] <= value < _WIDTHS[kind]:
            yield _line(value, path, f"Member must be a whole number of {_WIDTHS[kind].bit_length()} bits")
        yield from _too_much(value, shape, path, "value")
    elif kind in {"double", "float"} and (isinstance(value, bool) or not math.isfinite(value)):
        yield _line(value, path, "Member must be a number")
    elif kind == "timestamp" and (isinstance(value, (bool, str)) or not 0 <= value <= _LATEST_S):
        yield _line(value, path, "Member must be a number of seconds since 1970")


def _wrong_text(value: str, shape: Any, path: str) -> Iterator[str]:
    yield from _too_much(len(value), shape, path, "length")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        yield _line("", path, "Member must be Unicode")
    if shape.enum and value not in shape.enum:
        yield _line(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _too_much(number: int, shape: Any, path: str, what: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and number > most:
        yield _line("", path, f"Member must have {what} less than or equal to {most}, not {number}")


def _line(value: Any, path: str, constraint: str) -> str:
    shown = " ".join(str(value).split())[:100]
    return f"1 validation error detected: Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
