"""How the programs of this folder end: an exit code, and one line where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from base import command_line, compose, proxies
from base.errors import EmrlabError
from pipeline import settings, signals


def run(command: Callable[[], int], *, stopped: str) -> int:
    """Run `command`; its exit code, or 1 for a failure, 2 for a mistake of the user, 128 and the signal's number.

    Args:
        command: the program.
        stopped: what a user who ends it reads.
    """
    proxies.spare_this_machine()
    compose.forget_other_projects()
    try:
        return command()
    except settings.UsageError as error:
        return command_line.fail(str(error), exit_code=2)
    except (EmrlabError, OSError) as error:
        return command_line.fail(error)
    except KeyboardInterrupt as error:
        sys.stderr.write(f"error: stopped; {stopped}\n")
        return signals.exit_code(error)
