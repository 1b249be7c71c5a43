"""What a run far from this machine needs of it, brought to its bucket, and what it came to, brought back."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from launch import storage
from launch.package import Package
from launch.storage import Access
from pipeline.names import escape
from pipeline.settings import Settings, UsageError

REPORT, RUN = "report.html", "run.json"
RESULTS = (REPORT, "predictions.csv", "metrics.json", RUN)  # what a person reads; the tables stay there


@dataclass(frozen=True)
class Shipment:
    """The package's zip and the file to start, as URIs, and the settings with every location in S3."""

    archive: str
    main: str
    settings: Settings


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
    """The settings with the places in `bucket` (`s3://name`) for which folders of this machine stand.

    A folder `photos` goes to images/…/photos, and is what the job reads; the results meant for `out/run` go to
    results/…/run. See `place`.
    """
    source, target = (
        location if _is_remote(location) else f"{bucket}/{kind}/{place(location, owner=owner)}"
        for location, kind in ((settings.input, "images"), (settings.output, "results"))
    )
    return replace(settings, input=source, output=target)


def send(
    settings: Settings,
    package: Package,
    model: Path,
    *,
    bucket: str,
    access: Access,
    owner: str = "",
    prune: bool = True,
) -> Shipment:
    """Bring package, model and photographs to their places in `bucket`, where they are not there yet.

    Package and model lie below artifacts/, each under a name that stands for its content. With `prune` the place of the
    photographs becomes the folder's mirror: objects there that the folder has not got are removed.

    Raises:
        StorageError: something cannot be sent.
    """
    place = f"{bucket}/artifacts/package/{package.sha256[:12]}"
    archive, main = (f"{place}/{path.name}" for path in (package.archive, package.main))
    built = f"{bucket}/artifacts/models/{sha256(model.read_bytes()).hexdigest()[:12]}/{model.name}"
    for path, uri in ((package.archive, archive), (package.main, main), (model, built)):
        storage.put(path, uri, access)
    there = in_bucket(settings, bucket, owner=owner)
    if not _is_remote(settings.input):
        done = storage.mirror(Path(settings.input), there.input, access, live=settings.live, prune=prune)
        removed = f", {done.removed:,} removed" * bool(done.removed)
        if done.left:
            first, why = min(done.left.items())
            source = escape(settings.input)
            sys.stderr.write(f"warning: {len(done.left):,} of {source} stay behind, like {first}: {why}\n")
        sys.stderr.write(f"{done.files:,} files in {there.input}: {done.sent:,} sent{removed}\n")
    return Shipment(archive, main, replace(there, model=built))


def bring_back(shipment: Shipment, output: str, *, default: Path, access: Access) -> Path:
    """Fetch the results into the folder `output`, or of a run to `s3://b/r` the report into `default`/b/r.

    Returns:
        The report's path.

    Raises:
        StorageError: something cannot be fetched.
    """
    here = not _is_remote(output)
    folder = Path(output) if here else default / output.removeprefix("s3://")
    storage.fetch(shipment.settings.output, RESULTS if here else [REPORT], folder, access)
    return folder / REPORT


def _strange(folder: Path) -> str | None:
    """A file that `bring_back` would replace though no run left it there."""
    there = [name for name in RESULTS if (folder / name).exists()]
    if not there:
        return None
    try:
        record = json.loads((folder / RUN).read_text())
        ours = isinstance(record, dict) and {"run", "counts"} <= record.keys()
    except (FileNotFoundError, ValueError):
        ours = False
    return None if ours else there[0]


def _is_remote(location: str) -> bool:
    return location.startswith("s3://")
