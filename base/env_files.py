"""Files of variables, NAME=VALUE on each line, as Docker Compose reads its `.env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from base import paths
from base.errors import UsageError


def read(path: Path) -> dict[str, str]:
    """All variables of `path` as Docker Compose reads the simple ones.

    Raises:
        UsageError: it is no text in UTF-8.
        OSError: it is not there or cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); save it as such"
        ) from error
    pairs = (line.strip().removeprefix("export ").split("=", 1) for line in lines if re.match(r"\s*[A-Za-z_]", line))
    return {pair[0].strip(): _value(pair[1]) for pair in pairs if len(pair) == 2}


def read_dotenv() -> dict[str, str]:
    """The variables of this checkout's `.env`; none where there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    return read(paths.ENV_FILE) if paths.ENV_FILE.exists() else {}


def lines(variables: Mapping[str, str]) -> str:
    """The text of such a file; the values need no quotes."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _value(text: str) -> str:
    """What stands in quotes, or before a comment: a `#` behind a space."""
    text = text.strip()
    quoted = re.match(r"""(["'])(.*?)\1(?=\s*$|\s+#)""", text)
    return quoted[2] if quoted else text.partition(" #")[0].rstrip()
