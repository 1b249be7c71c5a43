"""The report's HTML: text that is safe in a page, numbers as one reads them, tables and figures."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import numpy as np

NAMED_CLASSES = 20  # up to here classes go by their names, above by their numbers
LISTED_CLASSES = 300  # more would bury the rest of the page; metrics.json has them all


def html_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), kind: str = ""
) -> str:
    """A table in a box of its own to scroll in. The cells are HTML."""
    kinds = ["number" if column in numbers else "text" for column in range(len(head))]
    top = "".join(f'<th scope="col" class="{of}">{cell}</th>' for of, cell in zip(kinds, head, strict=True))
    lines = ("".join(f'<td class="{of}">{cell}</td>' for of, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="box" tabindex="0">{table}</div>'


def html_figure(svg: str, caption: str) -> str:
    """A plot with its caption, which is read out in its place, too."""
    described = svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    return f"<figure>{described}<figcaption>{caption}</figcaption></figure>"


def html_code(value: object) -> str:
    """A path, a setting or a class of errors as HTML, which may break where a part of it ends."""
    return f"<code>{re.sub('(?<=[/.])|(?<=[a-z])(?=[A-Z])', '<wbr>', escaped(value))}</code>"


def escaped(value: object) -> str:
    """Any value as HTML text."""
    return html.escape(printable(value))


def printable(value: object) -> str:
    """Any value as text; what no page may hold, or what turns the reading direction, as Python writes it."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]",
        lambda bad: ascii(bad.group())[1:-1],
        str(value),
    )


def shortened(name: str) -> str:
    """A name of 20 characters at most."""
    return name if len(name) <= 20 else name[:19] + "…"


def format_count(value: object) -> str:
    """A number with its thousands apart; a dash for None, other values as they are."""
    return "–" if value is None else f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def format_percent(share: float | None) -> str:
    """A share as a percentage; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


def format_seconds(value: float) -> str:
    """Seconds in three digits."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}\u00a0s"
