"""The software bill of materials of the lab's images: CycloneDX documents, by Syft (docker/sbom)."""

from __future__ import annotations

from pathlib import Path

from base import compose, paths

FOLDER = paths.OUT / "sbom"
BUILD_TIMEOUT_S = 3600


def write(folder: Path = FOLDER) -> list[Path]:
    """A document for every image of the lab that is here, of whatever release; their paths, none where none is.

    Raises:
        DockerError: Docker or Syft fails.
    """
    listing = ["docker", "image", "ls", "--filter", "reference=emrlab/*", "--format", "{{.Repository}}:{{.Tag}}"]
    images = sorted(compose.run(listing).split())
    for image in images:
        command = ["docker", "buildx", "build", "--file", "docker/sbom/Dockerfile", "--build-arg", f"IMAGE={image}"]
        compose.run([*command, "--output", f"type=local,dest={folder}", "."], timeout_s=BUILD_TIMEOUT_S, shown=True)
    return [folder / f"{image.replace('/', '-').replace(':', '-')}.cdx.json" for image in images]
