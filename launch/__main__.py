"""The command line: `python -m launch run`, `python -m launch setup`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launch import jars, java, model, package, submit, targets
from pipeline.settings import Parser, UsageError, add_arguments, from_namespace

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
SAMPLE = ROOT / "data" / "sample"


def main(argv: Sequence[str]) -> int:
    """Run one command; exit code 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C."""
    try:
        parsed = _parser().parse_args(argv)
        return int(parsed.command(parsed))
    except (UsageError, model.ModelError, java.JavaError, jars.JarsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m launch", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    run = commands.add_parser(
        "run", help="run the job", description="Runs the job: photographs in, results out.", allow_abbrev=False
    )
    run.add_argument("--target", choices=["local"], default="local", help="where: on this machine's own Spark (local)")
    add_arguments(run)
    run.add_argument(
        "--model", default="lite0", metavar="MODEL", help="lite0 (default), efficientnetb0, vgg16 or FILE.keras"
    )
    run.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of efficientnetb0 or vgg16, for want of internet"
    )
    run.add_argument(
        "--image-size",
        type=_image_size,
        default=224,
        metavar="N",
        help="edge in pixels that images are brought to (224)",
    )
    run.add_argument(
        "--explain", action="store_true", help="print the Spark settings and their reasons, and run nothing"
    )
    run.set_defaults(command=_run)
    setup = commands.add_parser(
        "setup",
        help="make ready: check Java, speed up its start",
        description="Checks Java and makes the archive that speeds up its start. Needed once.",
    )
    setup.set_defaults(command=_setup)
    return parser


def _run(parsed: argparse.Namespace) -> int:
    wanted = parsed.model
    parsed.live = sys.stdout.isatty()
    parsed.model = "."  # stands in until the file is built: a mistake in the other flags should not wait for that
    settings = from_namespace(parsed)
    conf = targets.local([settings.input, settings.output])
    if parsed.explain:
        sys.stdout.write(targets.explain(conf))
        return 0
    java.find()
    built = model.build(
        wanted, weights=parsed.weights, image_size=parsed.image_size, cache=CACHE / "models", images=_pictures()
    )
    settings = replace(settings, model=str(built.path))
    on_s3 = any(location.startswith("s3://") for location in (settings.input, settings.output))
    return submit.run_local(
        package.build(CACHE), settings, conf, jars=jars.s3a_jars(CACHE) if on_s3 else (), cache=CACHE
    )


def _setup(_: argparse.Namespace) -> int:
    java.find()
    java.make_archive(CACHE)
    return 0


def _pictures() -> list[Path]:
    """Two views a class of the sample, to compare a model's LiteRT file with its source on."""
    return sorted(SAMPLE.glob("*/0_[01].jpg"))


def _image_size(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is no edge in pixels; give a whole number from 8 to 4096")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
