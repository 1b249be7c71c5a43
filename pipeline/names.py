"""File names that no terminal, table or S3 key can take as they are, written so that they can be read back."""

from __future__ import annotations

import re

# Control characters; bytes that are no UTF-8, which Python holds as lone surrogates; and a backslash that would look
# like the beginning of what stands for one of them.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]|\\(?=x[0-9a-f]{2})")
_WRITTEN = re.compile(rb"\\x([0-9a-f]{2})")


def escape(path: str) -> str:
    r"""A file's path with every byte of an odd character as `\xHH`: a tab is `\x09`, and a name `\x09` is `\x5cx09`.

    No two paths become one, and `unescape` gives the path back. Every other character stays as it is.
    """
    if path.isprintable() and "\\" not in path:  # five times as fast as looking closely
        return path
    return _ODD.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in _bytes(match.group())), path)


def unescape(path: str) -> str:
    """The path that `escape` was given."""
    if "\\x" not in path:
        return path
    written = _WRITTEN.sub(lambda match: bytes([int(match[1], 16)]), path.encode())
    return written.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
