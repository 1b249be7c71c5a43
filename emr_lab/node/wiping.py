"""Empties a folder of what the node's user has in it, whatever a step made of it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path


def wipe(folder: Path) -> None:
    """Remove what this user has in the folder, also where it took its own rights away or went deeper than Python can.

    Raises:
        OSError, subprocess.CalledProcessError: something is still there.
    """
    if not folder.exists():
        return
    if folder.stat().st_uid == os.getuid():
        folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    of_ours = ["find", str(folder), "-mindepth", "1", "-maxdepth", "1", "-uid", str(os.getuid())]
    subprocess.run([*of_ours, "-type", "d", "-exec", "chmod", "-R", "u+rwX", "--", "{}", "+"], check=False)
    subprocess.run([*of_ours, "-exec", "rm", "-rf", "--", "{}", "+"], capture_output=True, text=True, check=True)
