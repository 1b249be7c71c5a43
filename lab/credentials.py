"""The lab's keys: made once, kept in `.env`, and handed to each service as files that it alone can read.

On this machine `python -m lab.credentials` makes `.env`. In the container that starts before all others,
the same with `--env-file /project/.env --hand-out /run/credentials` makes it too, and writes below that folder, on
which the services' volumes are mounted:

    root/user, root/password    for MINIO_ROOT_USER_FILE and MINIO_ROOT_PASSWORD_FILE
    init/env                    every key under its name in `.env`, for bucket.py
    job/env, history/env        AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the one user
    spark/auth.conf             what Spark's master, workers, drivers and executors know each other by
    connect/token               what clients of Spark Connect show its server on the master
    emr/env                     those of the job, and the laptop's as they are in `.env`: by them its requests are known

No key is printed, stands on a command line or in an environment that `docker inspect` shows. The standard library is
all it needs.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from base import command_line, env_files, paths
from base.errors import UsageError

READER_UID = 1000  # every service runs as this user
USERS = ("job", "data", "history")
# MinIO takes names of users from 3 characters and secrets from 8; AWS's own have 20 and 40.
SHORTEST = {"MINIO_ROOT_USER": 3, "MINIO_ROOT_PASSWORD": 8, "SPARK_AUTH_SECRET": 32, "SPARK_CONNECT_TOKEN": 32} | {
    f"{user.upper()}_{part}": length
    for user in USERS
    for part, length in (("ACCESS_KEY_ID", 3), ("SECRET_ACCESS_KEY", 8))
}


class CredentialsError(UsageError):
    """`.env` has a key that cannot be used: one line with the fix."""


def ensure(env_file: Path) -> dict[str, str]:
    """The lab's keys in `env_file`, made where they are missing; one that is there is never changed.

    The file is replaced as a whole, is its owner's alone (0600), and belongs to the owner of its folder. Where it is a
    link, that stays, and this is done to what it leads to.

    Raises:
        CredentialsError: a key that is there is too short, or the file is a link that leads nowhere.
        OSError: the file cannot be read or written.
    """
    env_file = _followed(env_file)
    known = _read(env_file)
    for name, shortest in SHORTEST.items():
        if name in known and len(known[name]) < shortest:
            length = len(known[name])
            fix = "remove that line, a new key is made" if length == 0 else "give a longer one, or remove that line"
            raise CredentialsError(f"{name} in {env_file} has {length} characters, {shortest} are the fewest; {fix}")
    missing = {name: _new(name) for name in SHORTEST if name not in known}
    if missing:
        before = env_file.read_text() if env_file.exists() else ""
        _write(env_file, _on_its_own_line(before) + env_files.lines(missing), mode=0o600, like=env_file.parent)
    elif stat.S_IMODE(env_file.stat().st_mode) & 0o077:
        env_file.chmod(0o600)
    return {name: (known | missing)[name] for name in SHORTEST}


def forget(env_file: Path) -> bool:
    """Remove the lab's keys from `env_file`, and the file when nothing else is in it; whether there were any.

    Raises:
        CredentialsError: it is a link that leads nowhere.
        OSError: the file cannot be read or written.
    """
    env_file = _followed(env_file)
    if not SHORTEST.keys() & _read(env_file).keys():
        return False
    ours = re.compile(rf"\s*(export )?({'|'.join(SHORTEST)})\s*=")
    kept = [line for line in env_file.read_text().splitlines() if not ours.match(line)]
    if any(line.strip() for line in kept):
        _write(env_file, "\n".join(kept) + "\n", mode=0o600, like=env_file.parent)
    else:
        env_file.unlink()
    return True


def hand_out(keys: Mapping[str, str], folder: Path, *, uid: int = READER_UID) -> None:
    """Write each service's files below `folder`, readable (0400) for `uid` alone.

    Raises:
        OSError: a file cannot be written, or not be given to `uid`.
    """
    laptop = {name: key for name, key in keys.items() if name.startswith("DATA_")}
    files = {
        "root/user": keys["MINIO_ROOT_USER"],
        "root/password": keys["MINIO_ROOT_PASSWORD"],
        "init/env": env_files.lines({name: key for name, key in keys.items() if not name.startswith("SPARK_")}),
        "job/env": _aws_lines(keys, "job"),
        "history/env": _aws_lines(keys, "history"),
        "spark/auth.conf": f"spark.authenticate true\nspark.authenticate.secret {keys['SPARK_AUTH_SECRET']}\n",
        "connect/token": keys["SPARK_CONNECT_TOKEN"],
        "emr/env": _aws_lines(keys, "job") + env_files.lines(laptop),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content, mode=0o400, uid=uid)
        os.chown(path.parent, uid, -1)
        path.parent.chmod(0o700)


def main(argv: Sequence[str]) -> int:
    """Make the keys, hand them out where asked; exit code 0, 1 for a file that cannot be written, 2 for a mistake."""
    parser = command_line.Parser(prog="python -m lab.credentials", description="Makes the lab's keys.")
    parser.add_argument(
        "--env-file", type=Path, default=paths.ENV_FILE, metavar="FILE", help="where the keys are kept (.env)"
    )
    parser.add_argument("--hand-out", type=Path, metavar="FOLDER", help="write the services' own files below it")
    try:
        parsed = parser.parse_args(argv)
        keys = ensure(parsed.env_file)
        if parsed.hand_out:
            hand_out(keys, parsed.hand_out)
    except UsageError as error:
        return command_line.fail(error)
    except OSError as error:
        return command_line.fail(f"{error.filename}: {error.strerror}; this user must be able to write it")
    return 0


def _followed(env_file: Path) -> Path:
    """Where the file lies. A container sees the folder alone: another one than its link leads to would be made there.

    Raises:
        CredentialsError: it is a link out of what is seen here.
    """
    if not env_file.is_symlink():
        return env_file
    file = Path(os.path.realpath(env_file))
    if not file.parent.is_dir():
        raise CredentialsError(f"{env_file} is a link to {file}, which is not there; put a file in its place")
    return file


def _read(env_file: Path) -> dict[str, str]:
    return env_files.read(env_file) if env_file.exists() else {}


def _new(name: str) -> str:
    """Letters, digits, `-` and `_` only: no quoting in `.env`, in a shell or in a signature."""
    if name.endswith(("_PASSWORD", "_SECRET", "_SECRET_ACCESS_KEY", "_TOKEN")):
        return secrets.token_urlsafe(30)  # 40 characters
    user = "root" if name == "MINIO_ROOT_USER" else name.split("_", maxsplit=1)[0].lower()
    return f"{user}-{secrets.token_hex(6)}"


def _aws_lines(keys: Mapping[str, str], user: str) -> str:
    parts = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    return env_files.lines({f"AWS_{part}": keys[f"{user.upper()}_{part}"] for part in parts})


def _on_its_own_line(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _write(path: Path, content: str, *, mode: int, uid: int | None = None, like: Path | None = None) -> None:
    """Put `content` at `path`, whole or not at all, and for nobody else's eyes from the first moment.

    Args:
        path: of the file.
        content: of the file.
        mode: its permissions.
        uid: whose it becomes.
        like: takes the owner from this path instead, where this process is root's.
    """
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        if uid is not None:
            os.chown(made, uid, -1)
        elif like is not None and os.geteuid() == 0:
            owner = like.stat()
            os.chown(made, owner.st_uid, owner.st_gid)
        Path(made).chmod(mode)
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
