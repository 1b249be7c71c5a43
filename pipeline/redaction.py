"""What of a run's settings no page and no terminal shows."""

from __future__ import annotations

import re

HIDDEN = "*********(redacted)"  # Spark's own words
_NAME = r"secret|passw(?:or)?d|passphrase|token|access[._-]?key|api[._-]?key|private[._-]?key"
# Spark's own spark.redaction.regex, and S3A's keys for encryption. A class that provides credentials is no credential.
_KEY = re.compile(rf"{_NAME}|fs\.s3a\..*key", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_IN_OPTIONS = re.compile(rf"([\w.-]*(?:{_NAME})[\w.-]*\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)", re.IGNORECASE)


def redacted(key: str, value: str) -> str:
    """The value of the Spark setting `key`, without what looks like a secret.

    All of it where the key says so; otherwise a user and password in an address, and what a Java option or a parameter
    of an address like `-Dx.password=…` is given.
    """
    if _KEY.search(key):
        return HIDDEN
    return _IN_OPTIONS.sub(rf"\g<1>{HIDDEN}", _IN_URL.sub(HIDDEN, value))


def redacted_argument(text: str) -> str:
    """An argument of spark-submit, redacted where it is a setting, `spark.x=…`."""
    key, equals, value = text.partition("=")
    return f"{key}={redacted(key, value)}" if equals and key.startswith("spark.") else text
