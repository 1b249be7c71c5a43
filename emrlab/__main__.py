"""A local big-data lab that mirrors Amazon EMR: a Spark job runs here, in Docker, and on Amazon EMR, unchanged."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE if (HERE / "base").is_dir() else HERE.parent  # in an installation, in a checkout
# The module of each command: one is loaded when it is called. A test holds them to the programs' own parsers.
PROGRAMS = {
    "lab.__main__": ("up", "emr-up", "emr-chaos", "down", "clean", "env", "logs", "shell", "sbom", "doctor"),
    "launch.__main__": (
        *("run", "demo", "init", "setup", "session", "notebook"),
        *("emr-run", "emr-plan", "emr-status", "emr-logs", "emr-stop", "emr-down"),
        *("emr-setup", "emr-history", "emr-prices"),
    ),
}
ALONE = {"data": "data.__main__", "shards": "data.shards"}  # programs of one command
PROJECT_NAME = "emrlab-user"  # Docker Compose's: the data of a checkout's lab have other keys


def main(argv: Sequence[str]) -> int:
    """Run one command; exit code 0, 1 for a failure, 2 for a mistake of the user, 128 and the number of a signal."""
    return _load(argv)()


def _load(argv: Sequence[str]) -> Callable[[], int]:
    """Load what a command needs; what runs it."""
    from base import command_line  # noqa: PLC0415

    command_line.speak_as_installed([*(name for names in PROGRAMS.values() for name in names), *ALONE])
    command = argv[0] if argv else "--help"
    if command in {"version", "--version"}:
        return _version
    for module, names in PROGRAMS.items():
        if command in names:
            program = import_module(module)
            return lambda: _settle() or int(program.main(argv, prog="emrlab"))
    if command in ALONE:
        program = import_module(ALONE[command])
        return lambda: _settle() or int(program.main(argv[1:], prog=f"emrlab {command}"))
    return lambda: _help(argv or ["--help"])


def _version() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sys.stdout.write(f"emrlab {project['version']}\n")
    return 0


def _settle() -> int:
    """Make the folder ready in which an installation's lab works, and give it a name of its own; 0, or an exit code."""
    from base import command_line, compose, paths  # noqa: PLC0415
    from lab import folder  # noqa: PLC0415

    try:
        if paths.INSTALLED:
            folder.bring_up_to_date()
            if not compose.setting("COMPOSE_PROJECT_NAME"):
                os.environ["COMPOSE_PROJECT_NAME"] = PROJECT_NAME
    except OSError as error:
        return command_line.fail(error)
    return 0


def _help(argv: Sequence[str]) -> int:
    """Answer to --help, and to what is no command."""
    from base import command_line  # noqa: PLC0415
    from base.errors import UsageError  # noqa: PLC0415

    parser = command_line.Parser(prog="emrlab", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=command_line.Parser)
    for module in PROGRAMS:
        import_module(module).add_commands(commands)
    commands.add_parser("data", help="photographs to try the image pipeline on: a known data set, or any zip or tar")
    commands.add_parser("shards", help="tar archives of class folders, that take a thousandth of the requests")
    try:
        parser.parse_args(argv)
    except UsageError as error:
        return command_line.fail(error)
    return 0


def run() -> int:
    """What the command `emrlab` runs: `main`, which SIGTERM and SIGHUP end as Ctrl-C does."""
    # The rooms import each other by names as plain as `base` and `lab`: they are this process's alone.
    sys.path.insert(0, str(ROOT))
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else a shell wants it to be deaf
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the half second that loading takes: no traceback
    from pipeline import signals  # noqa: PLC0415

    try:
        Path.cwd()
    except OSError:
        sys.stderr.write("error: the current folder is gone; change into another one, and run again\n")
        return 1
    program = _load(sys.argv[1:])
    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signals.install_handlers()
    return program()


if __name__ == "__main__":
    sys.exit(run())
