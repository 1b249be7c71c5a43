"""What a run far from this machine needs of it, brought to its bucket, and what it came to, brought back."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from base.errors import UsageError
from launch import outputs, storage
from launch.job import Job, is_remote
from launch.package import Package
from launch.s3_access import Access

UNKNOWN_SHA256 = "SHA256"  # in a plan, of what only a run makes


@dataclass(frozen=True, kw_only=True)
class JobArtifacts:
    """A job as it lies in a bucket, ready for spark-submit on any cluster; URIs, all of them.

    Attributes:
        archive: the modules' zip, or None.
        main: the file to start.
        files, jars: of the job.
        job_args, env: its command line and variables, with every place in S3.
        places: what it reads, writes and needs, by the names in its declaration.
    """

    archive: str | None
    main: str
    files: tuple[str, ...]
    jars: tuple[str, ...]
    job_args: tuple[str, ...]
    env: Mapping[str, str]
    places: Mapping[str, str]


def check(job: Job) -> None:
    """See that the folders of this machine can serve, before anything is sent.

    Raises:
        UsageError: an input has nothing, or an output folder holds what no run left there.
    """
    for name, source in job.inputs.items():
        words = job.words("inputs", name)
        if not is_remote(source):
            check_folder(source, words=words)
            if not any(storage.files(Path(source), hidden_folders=not job.is_own)):
                raise UsageError(f"{words} {source} holds no file; correct the path")
        _check_named(words, source)
    for name, output in job.outputs.items():
        words = job.words("outputs", name)
        if not is_remote(output.location) and output.fetched is None:
            outputs.check(Path(output.location), words=words)
        _check_named(words, output.location)
    job.check()


def check_folder(source: str, *, words: str) -> None:
    """See that there is such a folder.

    Raises:
        UsageError: there is none, or it is a file.
    """
    if Path(source).is_file():
        raise UsageError(f"{words} {source} is a file; name the folder that it lies in")
    if not Path(source).is_dir():
        raise UsageError(f"{words} {source}: no such folder; correct the path")


def _check_named(words: str, location: str) -> None:
    if not Path(location).name:
        raise UsageError(f"{words} {location} has no name; choose a folder in it")


def check_places(job: Job, *, bucket: str) -> None:
    """See that the places in S3 are those that a job far from here may use.

    Raises:
        UsageError: one is not.
    """
    kinds = [
        ("inputs", job.inputs, ("images", "results")),
        ("outputs", {name: each.location for name, each in job.outputs.items()}, ("results",)),
    ]
    for kind, locations, folders in kinds:
        for name, location in locations.items():
            may = [f"s3://{bucket}/{folder}/" for folder in folders]
            if is_remote(location) and not location.startswith(tuple(may)):
                raise UsageError(
                    f"{job.words(kind, name)} {location}: the nodes may use {'… and '.join(may)}…; choose a place there"
                )


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


def places(job: Job, bucket: str, *, owner: str = "") -> dict[str, str]:
    """Where in `bucket` (a name) the job's inputs and outputs are, by name.

    A folder `photos` of this machine goes to images/…/photos, and is what the job reads; the results meant for
    `out/run` go to results/…/run. See `place`.
    """
    kinds = [(job.inputs, "images"), ({name: each.location for name, each in job.outputs.items()}, "results")]
    return {
        name: location if is_remote(location) else f"s3://{bucket}/{kind}/{place(location, owner=owner)}"
        for locations, kind in kinds
        for name, location in locations.items()
    }


def locate(
    job: Job, package: Package, made: Mapping[str, Path] | None = None, *, bucket: str, owner: str = ""
) -> JobArtifacts:
    """Where `send` brings a job in `bucket`: all below artifacts/, under names that stand for content.

    Args:
        job: whose folders of this machine stand for places in the bucket.
        package: as it was built.
        made: the job's files that were made, by name; None: a plan, in which UNKNOWN_SHA256 stands for their digests.
        bucket: its name.
        owner: as of `place`.
    """
    base = f"s3://{bucket}/artifacts"
    folder = f"{base}/package/{package.sha256[:12]}"
    all_places = places(job, bucket, owner=owner)
    for name, each in job.made.items():
        key = _key(made[name]) if made else f"{UNKNOWN_SHA256}/{each.name}"
        all_places[name] = f"{base}/{each.folder}/{key}"
    filled = job.filled(all_places)
    return JobArtifacts(
        archive=f"{folder}/{package.archive.name}" if package.archive else None,
        main=f"{folder}/{package.main.name}",
        files=tuple(f"{base}/files/{_key(path)}" for path in job.files),
        jars=tuple(f"{base}/jars/{_key(path)}" for path in job.jars),
        job_args=filled.args,
        env=filled.env,
        places=all_places,
    )


def send(
    job: Job,
    package: Package,
    made: Mapping[str, Path],
    *,
    bucket: str,
    access: Access,
    owner: str = "",
    prune: bool = True,
) -> JobArtifacts:
    """Bring a job and what it reads to their places in `bucket`, where they are not there yet.

    With `prune` the place of an input becomes the folder's mirror: objects there that the folder has not got are
    removed.

    Raises:
        StorageError: something cannot be sent.
    """
    artifacts = locate(job, package, made, bucket=bucket, owner=owner)
    sent = [(package.archive, artifacts.archive), (package.main, artifacts.main)]
    sent += [*zip(job.files, artifacts.files, strict=True), *zip(job.jars, artifacts.jars, strict=True)]
    sent += [(path, artifacts.places[name]) for name, path in made.items()]
    for path, uri in sent:
        if path is not None and uri is not None:
            storage.put(path, uri, access)
    for name, source in job.inputs.items():
        if not is_remote(source):
            _mirror(job, source, artifacts.places[name], access, prune=prune)
    return artifacts


def bring_back(job: Job, artifacts: JobArtifacts, *, default: Path, access: Access) -> dict[str, Path]:
    """Fetch the job's results into the folders of its outputs.

    Of an output that is `s3://b/r` itself, its page alone comes, into `default`/b/r.

    Returns:
        Where they are here, by the output's name: the page of those that have one, else the folder.

    Raises:
        StorageError: something cannot be fetched.
        OSError: a folder cannot be written.
    """
    came = dict[str, Path]()
    for name, output in job.outputs.items():
        here = not is_remote(output.location)
        folder = Path(output.location) if here else default / output.location.removeprefix("s3://")
        if output.fetched is not None:
            storage.fetch(artifacts.places[name], output.fetched, folder, access)
        elif not here:
            continue
        elif not outputs.fetch(artifacts.places[name], folder, access):
            sys.stderr.write(f"warning: {job.words('outputs', name)}: nothing came to {artifacts.places[name]}\n")
            continue
        came[name] = folder / output.page if output.page else folder
    return came


def _mirror(job: Job, source: str, uri: str, access: Access, *, prune: bool) -> None:
    mirrored = storage.mirror(Path(source), uri, access, live=job.live, prune=prune, hidden_folders=not job.is_own)
    removed = f", {mirrored.removed:,} removed" * bool(mirrored.removed)
    sys.stderr.write(mirrored.warning(source))
    sys.stderr.write(f"{mirrored.files:,} files in {uri}: {mirrored.sent:,} sent{removed}\n")


def _key(path: Path) -> str:
    """Below artifacts/: 0123456789ab/lite0-224.tflite."""
    with path.open("rb") as file:
        return f"{file_digest(file, 'sha256').hexdigest()[:12]}/{path.name}"
