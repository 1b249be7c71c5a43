"""The Docker lab's command line: `python -m lab up`, `emr-up`, `emr-chaos`, `down`, `clean`, `env`, `logs`, …"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from base import command_line, compose, env_files, paths
from base.errors import EmrlabError, UsageError
from lab import client, credentials, docker, doctor, sbom
from lab.up import up


def main(argv: Sequence[str], *, prog: str = "python -m lab") -> int:
    """Run one command of `prog`; exit code 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C."""
    compose.forget_other_projects()
    try:
        parsed = _parser(prog).parse_args(argv)
        return int(parsed.command(parsed))
    except (EmrlabError, OSError) as error:
        return command_line.fail(error)
    except KeyboardInterrupt:
        return 130


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = command_line.Parser(prog=prog, description=__doc__, allow_abbrev=False)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND", parser_class=command_line.Parser))
    return parser


def add_commands(commands: argparse._SubParsersAction[command_line.Parser]) -> None:
    """Add the commands to the parser of a program."""
    for name, words, emr_lab in (
        ("up", "start the lab, and build what is missing", False),
        ("emr-up", "start the EMR lab: YARN, HDFS, EMR's API", True),
    ):
        started = commands.add_parser(name, help=words, allow_abbrev=False)
        started.add_argument("--release", metavar="LABEL", help="EMR release out of releases.toml")
        started.add_argument(
            "--instance-type", metavar="TYPE", help="of the workers, like m5.xlarge (default) or r5.2xlarge"
        )
        started.set_defaults(command=_up, emr_lab=emr_lab, s3_only=False)
        if not emr_lab:
            started.add_argument("--s3-only", action="store_true", help="S3 alone, without Spark's services")

    stopped = commands.add_parser("down", help="stop the lab, or the EMR lab; its data stay", allow_abbrev=False)
    stopped.set_defaults(command=_down)

    interrupted = commands.add_parser(
        "emr-chaos", help="take a node of the EMR lab away, as Amazon takes back spot machines", allow_abbrev=False
    )
    interrupted.add_argument("--node", metavar="NODE", help="core-1 or core-2; else the last one on spot, or the last")
    for flag, words in (
        ("--after-s", "seconds until it gets its notice (default 0)"),
        ("--notice-s", "seconds from its notice to its end (default 120, as on EC2)"),
        ("--replace-after-s", "seconds from its end until a machine can take its place (default 60)"),
    ):
        interrupted.add_argument(flag, type=int, metavar="N", help=words)
    interrupted.set_defaults(command=_interrupt)

    cleaned = commands.add_parser("clean", help="remove the lab with its data, and unused keys", allow_abbrev=False)
    cleaned.add_argument("--images", action="store_true", help="remove its images too")
    cleaned.set_defaults(command=_clean)

    variables = commands.add_parser(
        "env", help="the AWS_* variables by which a client reaches the lab, its key among them", allow_abbrev=False
    )
    variables.add_argument("--root", action="store_true", help="with the key of S3's root, not the laptop's")
    variables.set_defaults(command=_env)

    logs = commands.add_parser("logs", help="what the services say", allow_abbrev=False)
    logs.add_argument("service", nargs="*", help="all where none is named")
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    logs.set_defaults(command=_logs)

    on = "a shell on the master, or on the EMR lab's primary node"
    shell = commands.add_parser("shell", help=on, allow_abbrev=False)
    shell.set_defaults(command=_shell)

    listed = commands.add_parser("sbom", help="what is in the lab's images, as CycloneDX documents", allow_abbrev=False)
    listed.set_defaults(command=_sbom)

    examined = commands.add_parser("doctor", help="what is missing on this machine, and the fix", allow_abbrev=False)
    examined.set_defaults(command=_doctor)


def _up(parsed: argparse.Namespace) -> int:
    up(
        release=parsed.release,
        instance_type=parsed.instance_type,
        emr_lab=parsed.emr_lab,
        s3_only=parsed.s3_only,
    )
    return 0


def _down(_: argparse.Namespace) -> int:
    _need_daemon()
    docker.containers(docker.written()["name"])
    compose.call("--profile", "*", "down", "--remove-orphans", timeout_s=120)
    sys.stdout.write(command_line.typed("stopped; the data stay in Docker's volumes (make clean removes them)\n"))
    return 0


def _interrupt(parsed: argparse.Namespace) -> int:
    """The endpoint's own command says what will happen, or why not."""
    _need_daemon()
    if not any(service.name == "emr" and service.state == "running" for service in compose.services()):
        raise UsageError("the EMR lab is not running; start it: make emr-up")
    given = {
        "--node": parsed.node,
        "--after-s": parsed.after_s,
        "--notice-s": parsed.notice_s,
        "--replace-after-s": parsed.replace_after_s,
    }
    flags = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    command = compose.exec_command("emr", ["python", "-m", "emr_lab.endpoint.interrupt", *flags])
    return subprocess.call(command, cwd=paths.LAB, stdin=subprocess.DEVNULL)


def _clean(parsed: argparse.Namespace) -> int:
    _need_daemon()
    written = docker.written({"COMPOSE_PROFILES": "*"})
    project, ours = written["name"], {volume["name"] for volume in (written.get("volumes") or {}).values()}
    mine = ["--filter", f"label=com.docker.compose.project={project}"]
    gone = {
        "containers": docker.containers(project),
        # Others of this name are not of compose.yaml, and stay.
        "volumes": ours.intersection(compose.run(["docker", "volume", "ls", "--quiet", *mine]).split()),
    }
    images = ["--rmi", "all"] if parsed.images else []
    compose.call("--profile", "*", "down", "--volumes", "--remove-orphans", *images, timeout_s=300)
    # Last: data that are still there, of another lab of this checkout or of this one, could not be opened without them.
    keep = sorted(_with_data())
    gone["keys"] = [str(paths.ENV_FILE)] if not keep and credentials.forget(paths.ENV_FILE) else []
    sys.stdout.write("".join(f"removed {what}: {', '.join(sorted(names)) or 'none'}\n" for what, names in gone.items()))
    if keep:
        sys.stdout.write(f"kept keys: {paths.ENV_FILE}, for the data of {', '.join(keep)} may need them\n")
    if parsed.images:
        sys.stdout.write("removed images: those of compose.yaml\n")
    return 0


def _with_data() -> set[str]:
    """The labs that have data, by their projects' names; Docker does not know which checkout's `.env` opens them."""
    data = ["--filter", "label=com.docker.compose.volume=s3-data"]
    project = '{{.Label "com.docker.compose.project"}}'
    return set(compose.run(["docker", "volume", "ls", "--format", project, *data]).split())


def _env(parsed: argparse.Namespace) -> int:
    _need_daemon()
    sys.stdout.write(env_files.lines(client.variables(root=parsed.root)))
    return 0


def _logs(parsed: argparse.Namespace) -> int:
    _need_daemon()
    if not compose.services():
        raise UsageError("the lab is not running, so that no service says anything; start it: make up")
    follow = ["--follow"] if parsed.follow else []
    # Every profile: else Compose leaves out the nodes and the endpoint of the EMR lab.
    words = ["docker", "compose", "--profile", "*", "logs", "--tail", "200", *follow, *parsed.service]
    return subprocess.call(words, cwd=paths.LAB)


def _shell(_: argparse.Namespace) -> int:
    _need_daemon()
    running = {service.name for service in compose.services() if service.state == "running"}
    node = next((name for name in ("master", "primary") if name in running), None)
    if node is None:
        raise UsageError("the lab is not running; start it: make up")
    return subprocess.call(["docker", "compose", "exec", node, "bash"], cwd=paths.LAB)


def _sbom(_: argparse.Namespace) -> int:
    _need_daemon()
    written = sbom.write()
    if not written:
        raise UsageError("no image of the lab is built; build them: make up")
    sys.stdout.write("".join(f"{os.path.relpath(path)}\n" for path in written))
    return 0


def _doctor(_: argparse.Namespace) -> int:
    text, able = doctor.report(doctor.examine())
    sys.stdout.write(command_line.typed(text))
    return 0 if able else 1


def _need_daemon() -> None:
    daemon = doctor.daemon()
    if isinstance(daemon, doctor.Finding):
        raise EmrlabError(daemon.line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
