"""File names that no terminal, table or S3 key can take as they are, written so that they can be read back."""

from __future__ import annotations

import re

# Control characters; bytes that are no UTF-8, which Python holds as lone surrogates; and a backslash that would look
# like the beginning of what stands for one of them, and a mark that would look like that of an archive's member.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]|\\(?=x[0-9a-f]{2})|(?<=\.[tT][aA][rR])!")
# The path of an archive's member, for Python and Java alike: the archive's, and the member's in it.
MEMBER_PATTERN = r"^(.*?\.[tT][aA][rR])!(.*)$"
_MEMBER = re.compile(MEMBER_PATTERN)
_WRITTEN = re.compile(rb"\\x([0-9a-f]{2})")


def escape(path: str) -> str:
    r"""A file's path with every byte of an odd character as `\xHH`: a tab is `\x09`, and a name `\x09` is `\x5cx09`.

    No two paths become one, and `unescape` gives the path back. Every other character stays as it is.
    """
    if path.isprintable() and "\\" not in path and "!" not in path:  # five times as fast as looking closely
        return path
    return _ODD.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in _bytes(match.group())), path)


def unescape(path: str) -> str:
    """The path that `escape` was given."""
    if "\\x" not in path:
        return path
    written = _WRITTEN.sub(lambda match: bytes([int(match[1], 16)]), path.encode())
    return written.decode(errors="surrogateescape")


def member_path(shard: str, name: str) -> str:
    """The path of the member `name` of an archive: `photos/train-0.tar!Kiwi/0.jpg`. No file has it: see `escape`."""
    return f"{shard}!{name}"


def shard_of(path: str) -> str | None:
    """The path of the archive whose member has this one; None where it is a file's own."""
    parts = _MEMBER.match(path)
    return parts[1] if parts else None


def unpacked(path: str) -> str:
    """The path that a member has where its archive is unpacked into its own folder; that of a file as it is."""
    if "!" not in path or not (parts := _MEMBER.match(path)):
        return path
    return parts[1][: parts[1].rfind("/") + 1] + parts[2]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
