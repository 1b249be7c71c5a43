"""What a run far from this machine needs of it, brought to its bucket, and what it came to, brought back."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from base.errors import UsageError
from launch import storage
from launch.package import Package
from launch.s3_access import Access
from pipeline.names import escape
from pipeline.settings import Settings

REPORT, RUN = "report.html", "run.json"
RESULTS = (REPORT, "predictions.csv", "metrics.json", RUN)  # what a person reads; the tables stay there


@dataclass(frozen=True, kw_only=True)
class JobArtifacts:
    """A job as it lies in a bucket, ready for spark-submit on any cluster.

    Attributes:
        archive: URI of the package's zip.
        main: URI of the file to start.
        job_args: its command line, with every location in S3.
        input, output: URIs below which it reads and writes.
    """

    archive: str
    main: str
    job_args: tuple[str, ...]
    input: str
    output: str


def check(settings: Settings) -> None:
    """See that the folders of this machine can serve, before anything is sent.

    Raises:
        UsageError: the input has nothing, or the output holds the tables of a run on this machine, or files that are
            not a run's and would be replaced.
    """
    source, target = settings.input, settings.output
    if not _is_remote(source):
        if not Path(source).is_dir():
            raise UsageError(f"--input {source}: no such folder; correct the path")
        if not any(storage.files(Path(source))):
            raise UsageError(f"--input {source} holds no file; correct the path")
    if not _is_remote(target) and Path(target, "features").exists():
        raise UsageError(f"--output {target} holds the results of a run on this machine; choose another folder")
    if not _is_remote(target) and (theirs := _strange(Path(target))):
        raise UsageError(f"--output {target} holds a {theirs} that no run of emrlab left; choose another folder")
    for flag, location in (("--input", source), ("--output", target)):
        if not Path(location).name:
            raise UsageError(f"{flag} {location} has no name; choose a folder in it")


def place(folder: str | Path, *, owner: str = "") -> str:
    """Where the absolute path `folder` has its place below images/ or results/: `1f3a9c2e/photos`.

    By its name alone, two folders `photos` would remove each other's photographs. The name comes last, as it is the
    class of the images that lie in the folder itself.

    Args:
        folder: of this machine.
        owner: tells it from the same path elsewhere, where others use the bucket too; see `mark`.
    """
    digest = sha256(owner.encode() + b"\0" + os.fsencode(folder)).hexdigest()[:8]
    name = Path(folder).name
    return f"{digest}/{''.join(letter if letter.isprintable() else '_' for letter in name)}"


def mark(cache: Path) -> str:
    """What tells this machine from the others that use its bucket: a random word, made once and kept in `cache`.

    Raises:
        OSError: the cache cannot be written.
    """
    path = cache / "mark"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        half = cache / f"mark.{secrets.token_hex(4)}"
        half.write_text(secrets.token_hex(8))
        try:
            path.hardlink_to(half)  # two first runs at the same time: one of them has made it
        except FileExistsError:
            pass
        finally:
            half.unlink()
    return path.read_text()


def in_bucket(settings: Settings, bucket: str, *, owner: str = "") -> Settings:
    """The settings with the places in `bucket` (a name) for which folders of this machine stand.

    A folder `photos` goes to images/…/photos, and is what the job reads; the results meant for `out/run` go to
    results/…/run. See `place`.
    """
    source, target = (
        location if _is_remote(location) else f"s3://{bucket}/{kind}/{place(location, owner=owner)}"
        for location, kind in ((settings.input, "images"), (settings.output, "results"))
    )
    return replace(settings, input=source, output=target)


def locate(settings: Settings, package: Package, model: str, *, bucket: str, owner: str = "") -> JobArtifacts:
    """Where `send` brings a job in `bucket`: package and model below artifacts/, under names that stand for content.

    Args:
        settings: of the job; folders of this machine stand for places in the bucket.
        package: as it was built.
        model: key of its file below artifacts/models/, like 0123456789ab/lite0-224.tflite.
        bucket: its name.
        owner: as of `place`.
    """
    folder = f"s3://{bucket}/artifacts/package/{package.sha256[:12]}"
    placed = replace(in_bucket(settings, bucket, owner=owner), model=_model_uri(bucket, model))
    return JobArtifacts(
        archive=f"{folder}/{package.archive.name}",
        main=f"{folder}/{package.main.name}",
        job_args=tuple(placed.to_args()),
        input=placed.input,
        output=placed.output,
    )


def send(
    settings: Settings,
    package: Package,
    model: Path,
    *,
    bucket: str,
    access: Access,
    owner: str = "",
    prune: bool = True,
) -> JobArtifacts:
    """Bring package, model and photographs to their places in `bucket`, where they are not there yet.

    With `prune` the place of the photographs becomes the folder's mirror: objects there that the folder has not got are
    removed.

    Raises:
        StorageError: something cannot be sent.
    """
    model_key = f"{sha256(model.read_bytes()).hexdigest()[:12]}/{model.name}"
    artifacts = locate(settings, package, model_key, bucket=bucket, owner=owner)
    storage.put(package.archive, artifacts.archive, access)
    storage.put(package.main, artifacts.main, access)
    storage.put(model, _model_uri(bucket, model_key), access)
    if not _is_remote(settings.input):
        mirrored = storage.mirror(Path(settings.input), artifacts.input, access, live=settings.live, prune=prune)
        removed = f", {mirrored.removed:,} removed" * bool(mirrored.removed)
        if mirrored.left:
            first, why = min(mirrored.left.items())
            source = escape(settings.input)
            sys.stderr.write(f"warning: {len(mirrored.left):,} of {source} stay behind, like {first}: {why}\n")
        sys.stderr.write(f"{mirrored.files:,} files in {artifacts.input}: {mirrored.sent:,} sent{removed}\n")
    return artifacts


def bring_back(results: str, output: str, *, default: Path, access: Access) -> Path:
    """Fetch the results at the URI `results` into the folder `output`.

    Of a run whose `output` is `s3://b/r` itself, the report alone comes, into `default`/b/r.

    Returns:
        The report's path.

    Raises:
        StorageError: something cannot be fetched.
    """
    here = not _is_remote(output)
    folder = Path(output) if here else default / output.removeprefix("s3://")
    storage.fetch(results, RESULTS if here else [REPORT], folder, access)
    return folder / REPORT


def _model_uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/artifacts/models/{key}"


def _strange(folder: Path) -> str | None:
    """A file that `bring_back` would replace though no run left it there."""
    present = [name for name in RESULTS if (folder / name).exists()]
    if not present:
        return None
    try:
        record = json.loads((folder / RUN).read_text())
        ours = isinstance(record, dict) and {"run", "counts"} <= record.keys()
    except (FileNotFoundError, ValueError):
        ours = False
    return None if ours else present[0]


def _is_remote(location: str) -> bool:
    return location.startswith("s3://")
