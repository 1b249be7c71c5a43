"""S3DistCp as far as the lab has it: copies files between HDFS and S3, all below a place or those of a pattern, and
joins those of a group. `python3 -m emr_lab.node.s3_dist_cp --src PLACE --dest PLACE`, by Spark's own Hadoop client.

Options and their meaning: https://docs.aws.amazon.com/emr/latest/ReleaseGuide/UsingEMR_s3distcp.html
EMR's copies by MapReduce on all nodes; here the one node copies that it is called on.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.java_gateway import launch_gateway

from base import command_line
from base.errors import UsageError

CODECS = ("keep", "none", "gz", "gzip")
MB = 1024 * 1024
COPIES_AT_ONCE = 8
S3 = ("s3:", "s3a:", "s3n:")


class DistCpError(UsageError):
    """The files cannot be copied as asked: one line."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the source: its whole URI, and its size in bytes."""

    uri: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Files that become one, in their order."""

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; a pattern has to match a file's whole URI."""

    src: str
    dest: str
    src_pattern: re.Pattern[str] | None
    group_by: re.Pattern[str] | None
    target_mb: int | None
    codec: str
    delete: bool


def options(argv: Sequence[str]) -> Options:
    """Return what the command line asks for.

    Raises:
        UsageError: it is none of S3DistCp's, or asks for what the lab has not.
    """
    parser = command_line.Parser(prog="s3-dist-cp", description="Copies files between HDFS and S3.", allow_abbrev=False)
    parser.add_argument("--src", required=True, metavar="PLACE", help="what is copied: hdfs:///… or s3://…")
    parser.add_argument("--dest", required=True, metavar="PLACE", help="where it comes to")
    parser.add_argument("--srcPattern", type=_pattern, metavar="REGEX", help="only files whose whole URI matches")
    parser.add_argument(
        "--groupBy", type=_pattern, metavar="REGEX", help="join files with the same text in parentheses"
    )
    parser.add_argument("--targetSize", type=int, metavar="MB", help="a joined file is ended when it has this size")
    parser.add_argument("--outputCodec", choices=CODECS, default="keep", help="how the copies are compressed")
    parser.add_argument("--deleteOnSuccess", action="store_true", help="remove the sources of a copy")
    parsed = parser.parse_args(argv)
    if parsed.groupBy and not parsed.groupBy.groups:
        raise DistCpError(f"--groupBy {parsed.groupBy.pattern} has no parentheses: what is in them names the group")
    if parsed.targetSize is not None and (not parsed.groupBy or parsed.targetSize < 1):
        raise DistCpError("--targetSize takes 1 or more MB, and goes with --groupBy")
    return Options(
        src=parsed.src.rstrip("/"),
        dest=parsed.dest.rstrip("/"),
        src_pattern=parsed.srcPattern,
        group_by=parsed.groupBy,
        target_mb=parsed.targetSize,
        codec=parsed.outputCodec,
        delete=parsed.deleteOnSuccess,
    )


def plan(files: Sequence[File], asked: Options, *, root: str) -> list[Copy]:
    """Return the copies of the `files`; `root` is the source's whole URI, and `asked` has the destination's.

    A joined file lies where the first of its files would, under the name of its group.

    Raises:
        DistCpError: there is nothing to copy, or two copies would come to the same place, or one to that of a source.
    """
    groups: dict[str, list[File]] = {}
    for file in sorted(files, key=lambda each: each.uri):
        is_wanted = asked.src_pattern is None or asked.src_pattern.fullmatch(file.uri)
        if is_wanted and (key := _group(file, asked.group_by)):
            groups.setdefault(key, []).append(file)
    copies = [copy for key, group in groups.items() for copy in _copies(key, group, asked, root=root)]
    if not copies:
        raise DistCpError(f"no file below {asked.src} is to be copied: there is none, or none that matches")
    targets = {each.target for each in copies}
    if len(targets) < len(copies):
        raise DistCpError("two copies would come to the same place; give --groupBy more in its parentheses")
    if replaced := sorted({_plain(each) for each in targets} & {_plain(file.uri) for file in files}):
        raise DistCpError(f"the copy {replaced[0]} would replace what is copied; choose another --dest")
    return copies


def _plain(uri: str) -> str:
    """Return the one spelling of a place that has many: S3A's schemes, and the cluster's one HDFS, however named."""
    return re.sub(r"^hdfs://[^/]*", "hdfs://", re.sub(r"^s3[an]:", "s3:", uri))


def main(argv: Sequence[str]) -> int:
    """Copy; exit code 0, 1 where a file cannot be copied, 2 for a mistake."""
    try:
        asked = options(argv)
        return _copy_all(asked)
    except UsageError as error:
        return command_line.fail(error)


def _group(file: File, group_by: re.Pattern[str] | None) -> str:
    """Return what tells the file's group from others; "" leaves the file out."""
    if group_by is None:
        return file.uri
    matched = group_by.fullmatch(file.uri)
    return "".join(text or "" for text in matched.groups()) if matched else ""


def _copies(key: str, group: Sequence[File], asked: Options, *, root: str) -> list[Copy]:
    parts: list[list[File]] = [[]]
    for file in group:
        if asked.target_mb and sum(each.size for each in parts[-1]) >= asked.target_mb * MB:
            parts.append([])
        parts[-1].append(file)
    below = group[0].uri.removeprefix(root).lstrip("/") or PurePosixPath(group[0].uri).name
    folder, _, own_name = below.rpartition("/")
    name = PurePosixPath(own_name if asked.group_by is None else key)
    before, after = (name.stem, name.suffix) if asked.codec == "keep" or name.suffix == ".gz" else (name.name, "")
    if asked.codec != "keep":
        after = "" if asked.codec == "none" else ".gz"
    numbers = [""] if len(group) == 1 else [f".{place}" for place in range(len(parts))]
    return [
        Copy(
            sources=tuple(each.uri for each in part),
            target="/".join(filter(None, (asked.dest, folder, f"{before}{number}{after}"))),
        )
        for number, part in zip(numbers, parts, strict=True)
    ]


def _copy_all(asked: Options) -> int:
    gateway = launch_gateway()  # type: ignore[no-untyped-call]
    jvm = gateway.jvm
    conf = jvm.org.apache.hadoop.conf.Configuration()
    try:
        files, root = _listed(jvm, conf, asked.src)
        copies = plan(files, replace(asked, dest=_qualified(jvm, conf, asked.dest)), root=root)
        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            for done in [pool.submit(_copy, gateway, conf, copy=each, asked=asked) for each in copies]:
                done.result()
    except Py4JJavaError as error:
        return command_line.fail(" ".join(str(error.java_exception).split()))
    sources = sum(len(each.sources) for each in copies)
    sys.stdout.write(f"{sources} files copied to {len(copies)} below {asked.dest}\n")
    return 0


def _listed(jvm: Any, conf: Any, place: str) -> tuple[list[File], str]:
    """The files below a place, and its whole URI."""
    path = jvm.org.apache.hadoop.fs.Path(place)
    found, files = path.getFileSystem(conf).listFiles(path, True), list[File]()
    while found.hasNext():
        each = found.next()
        files.append(File(uri=each.getPath().toString(), size=each.getLen()))
    return files, _qualified(jvm, conf, place)


def _qualified(jvm: Any, conf: Any, place: str) -> str:
    """A place with its scheme and server, as listings have it."""
    path = jvm.org.apache.hadoop.fs.Path(place)
    return str(path.getFileSystem(conf).makeQualified(path).toString()).rstrip("/")


def _copy(gateway: Any, conf: Any, *, copy: Copy, asked: Options) -> None:
    """Write one file, whole or not at all, then remove its sources where that is asked for."""
    jvm = gateway.jvm
    folder, _, name = copy.target.rpartition("/")
    is_s3 = copy.target.startswith(S3)
    written = jvm.org.apache.hadoop.fs.Path(
        copy.target if is_s3 else f"{folder}/.{name}.{secrets.token_hex(4)}"  # a name that Spark and Hive pass over
    )
    files = written.getFileSystem(conf)
    out = opened = files.create(written, True)
    try:
        if not is_s3:
            files.deleteOnExit(written)  # also where this program is killed
        if asked.codec in {"gz", "gzip"}:
            out = jvm.java.util.zip.GZIPOutputStream(opened)
        for uri in copy.sources:
            source = jvm.org.apache.hadoop.fs.Path(uri)
            with closing(source.getFileSystem(conf).open(source)) as content:
                is_packed = asked.codec != "keep" and uri.endswith(".gz")
                stream = jvm.java.util.zip.GZIPInputStream(content) if is_packed else content
                jvm.org.apache.hadoop.io.IOUtils.copyBytes(stream, out, conf, False)
    except BaseException:
        with suppress(Py4JError):  # what went wrong is told, not what followed from it
            if is_s3:
                opened.abort()  # an object is there when it is whole
            else:
                opened.close()
                files.delete(written, False)
        raise
    out.close()
    if not is_s3:
        _move(gateway, conf, written, jvm.org.apache.hadoop.fs.Path(copy.target))
    if asked.delete:
        for uri in copy.sources:
            source = jvm.org.apache.hadoop.fs.Path(uri)
            source.getFileSystem(conf).delete(source, False)


def _move(gateway: Any, conf: Any, written: Any, target: Any) -> None:
    """Give a file its name, in place of one that has it."""
    rename = gateway.jvm.org.apache.hadoop.fs.Options.Rename
    how = gateway.new_array(rename, 1)
    how[0] = rename.OVERWRITE
    gateway.jvm.org.apache.hadoop.fs.FileContext.getFileContext(target.toUri(), conf).rename(written, target, how)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
