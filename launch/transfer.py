"""What a run far from this machine needs of it, brought to its bucket, and what it came to, brought back."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from launch import storage
from launch.package import Package
from launch.storage import Access
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
        UsageError: the input has nothing, or the output holds the tables of a run on this machine.
    """
    source, target = settings.input, settings.output
    if not _is_remote(source):
        if not Path(source).is_dir():
            raise UsageError(f"--input {source}: no such folder; correct the path")
        if not any(storage.files(Path(source))):
            raise UsageError(f"--input {source} holds no file; correct the path")
    if not _is_remote(target) and Path(target, "features").exists():
        raise UsageError(f"--output {target} holds the results of a run on this machine; choose another folder")
    for flag, location in (("--input", source), ("--output", target)):
        if not Path(location).name:
            raise UsageError(f"{flag} {location} has no name; choose a folder in it")


def in_bucket(settings: Settings, bucket: str) -> Settings:
    """The settings with the places in `bucket` (`s3://name`) for which folders of this machine stand.

    A folder `photos` goes to images/photos, and is what the job reads; the results meant for `out/run` to results/run.
    """
    source, target = (
        location if _is_remote(location) else f"{bucket}/{folder}/{Path(location).name}"
        for location, folder in ((settings.input, "images"), (settings.output, "results"))
    )
    return replace(settings, input=source, output=target)


def send(
    settings: Settings, package: Package, model: Path, *, bucket: str, access: Access, prune: bool = True
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
    there = in_bucket(settings, bucket)
    if not _is_remote(settings.input):
        done = storage.mirror(Path(settings.input), there.input, access, live=settings.live, prune=prune)
        removed = f", {done.removed:,} removed" * bool(done.removed)
        sys.stderr.write(f"{done.files:,} files in {there.input}: {done.sent:,} sent{removed}\n")
    return Shipment(archive, main, replace(there, model=built))


def bring_back(shipment: Shipment, output: str, *, default: Path, access: Access) -> Path:
    """Fetch the results into the folder `output`, or of a run to S3 the report into one below `default`.

    Returns:
        The report's path.

    Raises:
        StorageError: something cannot be fetched.
    """
    here = not _is_remote(output)
    folder = Path(output) if here else default / output.rpartition("/")[2]
    storage.fetch(shipment.settings.output, RESULTS if here else [REPORT], folder, access)
    return folder / REPORT


def _is_remote(location: str) -> bool:
    return location.startswith("s3://")
