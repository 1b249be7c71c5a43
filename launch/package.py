"""Packages the job: the same bytes for the same sources, on every target."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from base.paths import ROOT

SOURCES = ROOT / "pipeline"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold: when a file was checked out says nothing


@dataclass(frozen=True)
class Package:
    """The job as files: `archive` for --py-files, `main` to start; named after the archive's sha256."""

    archive: Path
    main: Path
    sha256: str


def build(cache: Path) -> Package:
    """Zip `pipeline/` into `cache`, where it is not there yet.

    Raises:
        OSError: the cache cannot be written.
    """
    content = _zip()
    digest = sha256(content).hexdigest()
    folder = cache / "package" / digest[:12]
    package = Package(folder / "pipeline.zip", folder / "main.py", digest)
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in ((package.archive, content), (package.main, (SOURCES / "main.py").read_bytes())):
        if not path.exists():
            half = path.with_suffix(".half")
            half.write_bytes(data)
            half.replace(path)
    return package


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(SOURCES.iterdir()):
            if path.suffix in {".py", ".html"}:
                entry = zipfile.ZipInfo(f"pipeline/{path.name}", EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return sink.getvalue()
