"""The file that a session leaves for its clients, read as docs/sessions.md has a user read it."""

import subprocess


def variables(file):
    """By name, what a shell has after `set -a; . FILE`."""
    ran = subprocess.run(
        ["sh", "-c", 'set -a; . "$1" && exec env -0', "sh", file], env={}, capture_output=True, text=True, check=True
    )
    assert ran.stderr == "", "what a shell takes for a command, it says, the token with it"
    found = dict(each.split("=", 1) for each in ran.stdout.split("\0") if each)
    return {name: value for name, value in found.items() if name not in {"PWD", "OLDPWD", "SHLVL", "_", "PATH"}}
