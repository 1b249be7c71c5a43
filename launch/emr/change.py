"""A change to the account: said and made, or said only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from launch.emr import aws

Show = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Says each change and makes it, or says it only.

    Attributes:
        dry_run: make none.
        show: takes a line for each change.
        remark: takes a line for what is left as it is, and why.
    """

    dry_run: bool
    show: Show
    remark: Show

    def __call__(self, what: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` does, or None."""
        self.show(f"{'would be' if self.dry_run else 'now'} {what}")
        return None if self.dry_run else make()


def or_none(ask: Callable[[], Any], *codes: str) -> Any:
    """The answer, or None where AWS's code says that there is none.

    Raises:
        ClientError, BotoCoreError: AWS refuses for another reason.
    """
    try:
        return ask()
    except ClientError as error:
        if aws.code(error) in codes:
            return None
        raise
