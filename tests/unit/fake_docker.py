"""A `docker` that stands on PATH in place of the real one and gives the answers that a test wants."""

import json
import shlex
from pathlib import Path

COMPOSE = """\
services:
  minio:
    ports: ["127.0.0.1:${S3_PORT:-%d}:9000"]
  master:
    ports: ["127.0.0.1:${MASTER_UI_PORT:-%d}:8080"]
  primary:
    ports: ["127.0.0.1:${YARN_UI_PORT:-%d}:8088"]
"""
# The same as `docker compose config` tells it, and services without a port.
SERVICES = {
    "secrets": {"image": "emrlab/minio"},
    "minio": {
        "image": "emrlab/minio",
        "depends_on": {"secrets": {"condition": "service_completed_successfully"}},
        "ports": [{"target": 9000}],
    },
    "master": {
        "image": "emrlab/spark:x",
        "depends_on": {"minio": {"condition": "service_healthy"}},
        "ports": [{"target": 8080}],
    },
    "history": {"image": "emrlab/spark:x", "depends_on": {"minio": {"condition": "service_healthy"}}},
    "primary": {
        "image": "emrlab/emr-node:x",
        "profiles": ["emr"],
        "depends_on": {"secrets": {"condition": "service_completed_successfully"}},
        "ports": [{"target": 8088}],
    },
}


def row(name, *, state="running", health="healthy", code=0, ports=()):
    """A line of `docker compose ps --format json`."""
    published = [{"URL": "127.0.0.1", "TargetPort": target, "PublishedPort": port} for target, port in ports]
    return json.dumps({"Service": name, "State": state, "Health": health, "ExitCode": code, "Publishers": published})


def rows(**changed):
    """The lab's services as they are when all is well, but for those that are `changed`, and others."""
    well = {
        "secrets": row("secrets", state="exited", health=""),
        "minio": row("minio", ports=[(9000, 19000)]),
        "master": row("master", ports=[(8080, 18080)]),
    }
    return "\n".join((well | changed).values())


class FakeDocker:
    """Answers by the beginning of the command line, where all is well as long as a test does not change it.

    Args:
        folder: becomes PATH's only folder.

    Attributes:
        answers: output by command; an exception stands for a failure with its text on stderr.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.answers = {
            "version --format": "28.0.1",
            "info --format": f"8|{64 * 1024**3}|true|{folder}",
            "context inspect": "unix:///var/run/docker.sock",
            "buildx version": "github.com/docker/buildx v0.13.1 0.13.1",
            "image inspect": "sha256:1",
            "ps --all": "",
            "container inspect": "emrlab/minio",
            "compose version --short": "2.26.1",
            "compose config --format json": json.dumps(
                {"name": "lab-of-a-test", "services": SERVICES, "volumes": {"s3-data": {"name": "lab_s3-data"}}}
            ),
            "compose ps": rows(),
            "compose build": "",
            "compose rm": "",
            "compose up": "",
            "compose logs": "",
            "compose exec -T minio": "minio version RELEASE.2026-02-12T20-18-48Z (commit-id=7)",
        }
        self.write()

    def write(self, answers=()):
        """Put the program on PATH, with the `answers` changed."""
        self.answers |= dict(answers)
        cases = []
        for command, answer in self.answers.items():
            failed = isinstance(answer, Exception)
            print_ = f"printf '%s\\n' {shlex.quote(str(answer))}" + (" >&2; exit 1" if failed else "")
            cases.append(f"{shlex.quote(command)}*) {print_};;")
        calls = shlex.quote(str(self.folder / "calls"))
        script = [
            "#!/bin/sh",
            f'echo "$@ RELEASE=$RELEASE WORKER_CPUS=$WORKER_CPUS" >>{calls}',
            'case "$*" in',
            *cases,
            '*) echo "unknown command: $*" >&2; exit 1;;',
            "esac",
        ]
        self.program("docker", "\n".join(script) + "\n")

    def program(self, name, text):
        """An executable file."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def calls(self):
        """The command lines so far, with the variables of interest."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []
