"""EMR's logs in the bucket: where they lie, and what in them made a step or a bootstrap action fail.

`<LogUri>/<cluster>/steps/<step>/{controller,syslog,stderr,stdout}.gz`, brought by EMR about every five minutes.
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-web-log-files.html
"""

from __future__ import annotations

import gzip
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from launch.emr.aws import SETUP, code, known
from pipeline import progress as progress_line

# S3 answers 403 for what is not there, where the key may not list the whole bucket.
_MISSING = {"404", "NoSuchKey", "NotFound", "403", "AccessDenied"}
_AMOUNTS = r"(?P<amounts>[0-9.]+ ?[KMGT]i?B of [0-9.]+ ?[KMGT]i?B)"
# What tells the cause in a step's log, in the order of how sure it is, and what to do about it. {0} is what was found.
_CAUSES = (
    (
        rf"(?:killed by YARN for exceeding|is running .{{0,20}}beyond) .{{0,20}}memory limit.*?(?:{_AMOUNTS}|$)",
        "container killed by YARN: memory{amounts}",
        "take a larger INSTANCE_TYPE",
    ),
    (
        # GNU timeout's own word, and EMR's for its exit code.
        r"^timeout: sending signal \w+ to command|exit(?:Code|ing with ret|ed with) '?124\b",
        "ended after the time that MAX_USD pays for; what was extracted is kept (exit code 124)",
        "raise MAX_USD and run it again",
    ),
    (r"^error: (?P<text>.+)$", "{text}", ""),
    (
        r'Cannot run program "?/opt/emrlab|/opt/emrlab/bin/python\S*: No such file',
        "the job's Python is missing on a node",
        "start a cluster of emrlab's own, without CLUSTER",
    ),
    (
        r"(?P<text>(?:ModuleNotFoundError|ImportError): .+)$",
        "{text} {where}",
        "the nodes' packages lack it: declare it in pyproject.toml's group job, then make lock",
    ),
    (
        r"(?:AccessDenied|Access Denied|403 Forbidden|AllAccessDisabled)",
        "AccessDenied{uri}",
        f"the nodes may use images, artifacts, results and spark-events of BUCKET only; {SETUP} renews their rights",
    ),
    (
        r"Initial job has not accepted any resources",
        "no executor started: YARN has no room for one",
        "take a larger INSTANCE_TYPE",
    ),
    (r"Caused by: (?P<text>.+)$", "{text}", ""),
    (r"^(?P<text>\S*(?:Error|Exception)\b: .+)$", "{text}", ""),
)


@dataclass(frozen=True)
class Cause:
    """Why something failed, and what to do next; empty where nothing better than reading the log is known."""

    text: str
    fix: str


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


def progress(text: str) -> str | None:
    """The last line of progress that the job wrote."""
    lines = progress_line.PATTERN.findall(text)
    return str(lines[-1]) if lines else None


def cause(text: str) -> Cause | None:
    """What in the end of a step's stderr and stdout says why it failed."""
    for pattern, words, fix in _CAUSES:
        if matches := list(re.finditer(pattern, text, re.MULTILINE)):
            last = matches[-1]
            groups = {name: value or "" for name, value in last.groupdict().items()}
            on_executor = "PythonException" in text or re.search(r"Task \d+.* failed", text)
            uri = re.search(r"s3[an]?://[^\s'\"),;]+", _line_at(text, last.start()))
            sentence = words.format(
                text=groups.get("text", ""),
                amounts=f" ({groups['amounts']})" if groups.get("amounts") else "",
                where="on an executor" if on_executor else "on the driver",
                uri=f": {uri[0]}" if uri else "",
            )
            return Cause(" ".join(sentence.split())[:300], fix)
    return None


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


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)]
