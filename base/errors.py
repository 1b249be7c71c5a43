"""The errors that end a command: one line each, and the exit code that it comes to."""

from __future__ import annotations


class EmrlabError(Exception):
    """What was asked cannot be done: one line with what failed, the value and what to do next."""

    exit_code = 1


class UsageError(EmrlabError):
    """Something for the user to correct: a flag, a setting, what a command needs on this machine."""

    exit_code = 2
