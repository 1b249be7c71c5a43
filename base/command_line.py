"""How every program reads its arguments and says why it ends."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from base.errors import EmrlabError, UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text above it."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's own words."""
        raise UsageError(f"{message}; --help lists the options")


def fail(error: EmrlabError | OSError | str, *, exit_code: int = 1) -> int:
    """Write one line on stderr; returns the error's own exit code, else `exit_code`."""
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code if isinstance(error, EmrlabError) else exit_code
