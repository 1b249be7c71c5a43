"""Why a job ended, out of what it wrote last: the patterns that tell a cause, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LENGTH = 300


@dataclass(frozen=True)
class Cause:
    """Why something failed, and what to do next; empty where nothing better than reading the log is known."""

    text: str
    fix: str


@dataclass(frozen=True)
class Sign:
    """A pattern that tells a cause.

    Attributes:
        pattern: a regular expression, for lines.
        words: the cause; {text} and {amounts} are groups of the pattern, {where} and {uri} what stands around.
        fix: what to do about it.
    """

    pattern: str
    words: str
    fix: str


# What Java, Spark and Python say, wherever a job runs; in the order of how sure it is.
JOB = (
    Sign(
        r"(?:AccessDenied|Access Denied|403 Forbidden|Status Code: 403)",
        "AccessDenied{uri}",
        "a job may read and write what it declares: name the place among its inputs or outputs",
    ),
    Sign(
        r"java\.lang\.OutOfMemoryError: (?P<text>.+)$|MemoryError\b",
        "out of memory {where} ({text})",
        "raise spark.driver.memory or spark.executor.memory",
    ),
    Sign(
        r"Initial job has not accepted any resources",
        "no executor started: the cluster has no room for one",
        "wait for the end of other runs, or ask for smaller executors",
    ),
    Sign(r"^(?P<text>(?:ModuleNotFoundError|ImportError): .+)$", "{text}", "name it under modules or requirements"),
    Sign(r"^(?P<text>[\w.]*(?:Error|Exception)(?:: .+)?)$", "{text}", ""),
    Sign(r"Caused by: (?P<text>.+)$", "{text}", ""),
    Sign(r'^Exception in thread "main" (?P<text>.+)$', "{text}", ""),
)


def find(text: str, signs: Sequence[Sign]) -> Cause | None:
    """The cause that the first of the `signs` to be found tells, where it stands last; in one line."""
    for sign in signs:
        if matches := list(re.finditer(sign.pattern, text, re.MULTILINE)):
            last = matches[-1]
            groups = {name: value or "" for name, value in last.groupdict().items()}
            on_executor = "PythonException" in text or re.search(r"Task \d+.* failed", text)
            uri = re.search(r"s3[an]?://[^\s'\"),;]+", _line_at(text, last.start()))
            sentence = sign.words.format(
                text=groups.get("text", ""),
                amounts=f" ({groups['amounts']})" if groups.get("amounts") else "",
                where="on an executor" if on_executor else "on the driver",
                uri=f": {uri[0].rstrip(':.')}" if uri else "",
            )
            return Cause(" ".join(sentence.split())[:_LENGTH].replace(" ()", ""), sign.fix)
    return None


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)]
