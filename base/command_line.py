"""How every program reads its arguments, speaks of other commands, and says why it ends."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn, TextIO

from base.errors import EmrlabError, UsageError

_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)((?: [A-Z][A-Z0-9_]*=[^\s,;:)`]+)*)")
_BARE = {"SERVICE", "JOB", "ARGS", "DATASET"}  # variables of make that are no flags of a command, but its arguments
_installed = set[str]()


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text above it."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's own words."""
        raise UsageError(f"{message}; --help lists the options")

    def format_help(self) -> str:
        """The help, with other commands as this user types them."""
        return typed(super().format_help())


def path(text: str) -> Path:
    """A path as a user types it: zsh and make hand on a `~` behind a `=` as it is.

    Raises:
        ArgumentTypeError: no user of that name has a home here.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        words = f"no user of that name has a home here; write ./{text} for what is called so"
        raise argparse.ArgumentTypeError(f"{text}: {words}") from error


def encodable(text: str, sink: TextIO) -> str:
    """The text with a mark in place of each letter that the sink's encoding has not got."""
    encoding = sink.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def write(text: str, sink: TextIO) -> bool:
    """Write what a job says; whether anybody has taken it: a terminal that is closed does not."""
    try:
        sink.write(encodable(text, sink))
        sink.flush()
    except BrokenPipeError:  # `| head` has seen enough: Python itself would fail at its end, where it writes the rest
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sink.fileno())
        return False
    except OSError:
        return False
    return True


def speak_as_installed(commands: Iterable[str]) -> None:
    """From now on `typed` says `emrlab up` where it is given `make up`, for these `commands`."""
    _installed.update(commands)


def typed(text: str) -> str:
    """A message that names commands as make has them, as this user types them.

    What make takes as variables becomes flags and arguments: `make up S3_PORT=0` is `S3_PORT=0 emrlab up`, and
    `make emr-run TARGET=emr-lab YES=1` is `emrlab emr-run --target emr-lab --yes`.
    """
    return _MAKE.sub(_installed_command, text)


def fail(error: EmrlabError | OSError | str, *, exit_code: int = 1) -> int:
    """Write one line on stderr; returns the error's own exit code, else `exit_code`."""
    sys.stderr.write(typed(f"error: {error}\n"))
    return error.exit_code if isinstance(error, EmrlabError) else exit_code


def _installed_command(made: re.Match[str]) -> str:
    name, variables = made[1], made[2].split()
    if name not in _installed:
        return made[0]
    before, after = list[str](), list[str]()
    for variable, value in (pair.split("=", 1) for pair in variables):
        if variable.endswith("_PORT") or variable == "S3_SERVER":
            before.append(f"{variable}={value}")
        elif variable in _BARE:
            after.append(value)
        else:
            flag = f"--{variable.lower().replace('_', '-')}"
            after += [flag] if variable == "YES" else [flag, value]
    return " ".join([*before, "emrlab", name, *after])
