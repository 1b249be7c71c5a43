"""EMR's logs in the bucket: where they lie, and what in them made a step or a bootstrap action fail.

`<LogUri>/<cluster>/steps/<step>/{controller,syslog,stderr,stdout}.gz`, brought by EMR about every five minutes.
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-web-log-files.html
"""

from __future__ import annotations

import gzip
import re
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from launch import causes
from launch.causes import Cause, Sign
from launch.emr.aws import SETUP, code, known
from pipeline import progress as progress_line

OF_EXIT = ("stderr", "controller")  # logs that tell a step's exit code, the surer one first
MAX_EXIT_CODE = 255
# S3 answers 403 for what is not there, where the key may not list the whole bucket.
_MISSING = {"404", "NoSuchKey", "NotFound", "403", "AccessDenied"}
_AMOUNTS = r"(?P<amounts>[0-9.]+ ?[KMGT]i?B of [0-9.]+ ?[KMGT]i?B)"
# What tells the cause in a step's log, in the order of how sure it is, and what to do about it.
_CAUSES = (
    Sign(
        rf"(?:killed by YARN for exceeding|is running .{{0,20}}beyond) .{{0,20}}memory limit.*?(?:{_AMOUNTS}|$)",
        "container killed by YARN: memory{amounts}",
        "take a larger INSTANCE_TYPE",
    ),
    Sign(
        # GNU timeout's own word, and EMR's for its exit code.
        r"^timeout: sending signal \w+ to command|exit(?:Code|ing with ret|ed with) '?124\b",
        "ended after the time that MAX_USD pays for; what was extracted is kept (exit code 124)",
        "raise MAX_USD and run it again",
    ),
    Sign(r"^error: (?P<text>.+)$", "{text}", ""),
    Sign(
        r'Cannot run program "?/opt/emrlab|/opt/emrlab/bin/python\S*: No such file',
        "the job's Python is missing on a node",
        "start a cluster of emrlab's own, without CLUSTER",
    ),
    Sign(
        r"(?P<text>(?:ModuleNotFoundError|ImportError): .+)$",
        "{text} {where}",
        "the nodes' packages lack it: declare it in pyproject.toml's group job, then make lock",
    ),
    Sign(
        r"(?:AccessDenied|Access Denied|403 Forbidden|AllAccessDisabled)",
        "AccessDenied{uri}",
        f"the nodes may use images, artifacts, results and spark-events of BUCKET only; {SETUP} renews their rights",
    ),
    Sign(
        r"Initial job has not accepted any resources",
        "no executor started: YARN has no room for one",
        "take a larger INSTANCE_TYPE",
    ),
    Sign(r"Caused by: (?P<text>.+)$", "{text}", ""),
    Sign(r"^(?P<text>\S*(?:Error|Exception)\b: .+)$", "{text}", ""),
)


def step(logs: str, cluster: str, step: str, name: str = "stderr") -> str:
    """The URI of a step's log: controller, syslog, stderr or stdout."""
    return f"{folder(logs, cluster)}/steps/{step}/{name}.gz"


def bootstrap(logs: str, cluster: str, instance: str) -> str:
    """The URI of what the bootstrap action said on an EC2 instance."""
    return f"{folder(logs, cluster)}/node/{instance}/bootstrap-actions/1/stderr.gz"


def folder(logs: str, cluster: str) -> str:
    """Where all logs of a cluster are. EMR may answer with s3n:// what was given as s3://."""
    return re.sub(r"^s3[an]?://", "s3://", f"{logs.rstrip('/')}/{cluster}")


def read(s3: Any, uri: str) -> str | None:
    """The text of a log, or None where EMR has not brought it yet.

    Raises:
        ClientError, BotoCoreError: S3 refuses.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if code(error) in _MISSING:
            return None
        raise
    with suppress(gzip.BadGzipFile):  # some servers unpack it on the way
        content = gzip.decompress(content)
    return str(content.decode(errors="replace"))


def version(s3: Any, uri: str) -> str | None:
    """What changes when the log does, or None where there is none yet.

    Raises:
        ClientError, BotoCoreError: S3 refuses.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return str(s3.head_object(Bucket=bucket, Key=key)["ETag"])
    except ClientError as error:
        if code(error) in _MISSING:
            return None
        raise


class GrowingLog:
    """A log that EMR brings again and again, longer each time: what was read of it once is not read again.

    Attributes:
        uri: of the log.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._version: str | None = None
        self._taken = 0  # letters, to the end of a line

    def new_lines(self, s3: Any) -> str:
        """The whole lines that have come since the last look, or "".

        Raises:
            ClientError, BotoCoreError: S3 refuses.
        """
        newest = version(s3, self.uri)
        if newest is None or newest == self._version:
            return ""
        text = read(s3, self.uri) or ""
        self._version = newest
        lines = text[self._taken : text.rfind("\n") + 1]
        self._taken += len(lines)
        return lines

    def rest(self, text: str) -> str:
        """What of the log's `text`, now that it is whole, no look has had."""
        return text[self._taken :]


def progress(text: str) -> str | None:
    """The last line of progress that the job wrote."""
    lines = progress_line.PATTERN.findall(text)
    return str(lines[-1]) if lines else None


def cause(text: str) -> Cause | None:
    """What in the end of a step's stderr and stdout says why it failed."""
    return causes.find(text, _CAUSES)


def exit_code(text: str) -> int | None:
    """The exit code that a step's controller log tells, or on Amazon command-runner's own words in its stderr."""
    found = re.findall(r"exiting with ret '([0-9]+)'|Step failed with exitCode ([0-9]+)", text)
    codes = [code for each in found if (code := int("".join(each))) <= MAX_EXIT_CODE]
    return codes[-1] if codes else None


def bootstrap_cause(text: str) -> Cause | None:
    """What the bootstrap action said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("emrlab: ") for line in lines if line.startswith("emrlab: ")]
    last = (ours or lines)[-1:]
    return Cause(last[0][:300], "") if last else None


def cluster_cause(reason: dict[str, str]) -> Cause:
    """A cluster's StateChangeReason {Code, Message} in words."""
    text = f"{reason.get('Code', '')} {reason.get('Message', '')}".strip()
    if reason.get("Code") == "USER_REQUEST":
        return Cause("somebody ended the cluster, not this command", "run it again")
    return Cause(reason.get("Message") or reason.get("Code") or "EMR gives no reason", known(text) or "")
