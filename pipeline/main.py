"""The job's command line: reads the settings, runs the stages, puts the end into words and an exit code."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.errors import PySparkException

from pipeline import interrupt, results, signals, stages, store, summary
from pipeline.features import ModelError
from pipeline.names import escape
from pipeline.settings import RunError, UsageError, from_args

log = logging.getLogger("pipeline")


def main(argv: Sequence[str]) -> int:
    """Run the job; exit code 0, 1 for a failed run, 2 for a mistake of the user, 130 for Ctrl-C, 143 for SIGTERM."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # py4j logs, on the root logger, what it raises
    log.addHandler(logging.StreamHandler(sys.stderr))
    log.setLevel(logging.INFO)
    try:
        record = stages.run(from_args(argv))
    except (UsageError, ModelError) as error:
        return _fail(2, str(error))
    except RunError as error:
        return _fail(1, str(error))
    except (Py4JError, PySparkException, ConnectionRefusedError) as error:
        return _spark_failed(error)
    except store.STORE_ERRORS as error:
        return _fail(1, f"{store.explain(error)}; what was extracted is kept, run again")
    except KeyboardInterrupt as stopped:
        return _stop(stopped)
    report = f"{record['settings']['output']}/{results.REPORT}"
    sys.stdout.write(f"{summary.format_summary(record)}report      {escape(report)}\n")
    return 0


def _spark_failed(error: Exception) -> int:
    """An error of Spark's, or a stop behind it: on the way out of half a call pyspark makes another, which may fail."""
    before = error.__context__
    while before is not None:
        if isinstance(before, KeyboardInterrupt):
            return _stop(before)
        before = before.__context__
    return _fail(1, f"{_cause(error)}; what was extracted is kept, run again (--verbose shows Spark's messages)")


def _stop(stopped: KeyboardInterrupt) -> int:
    interrupt.cancel_jobs()
    return _fail(signals.exit_code(stopped), "stopped; what was extracted is kept, run again")


def _cause(error: Exception) -> str:
    """The last cause in a Java or Python trace, one line."""
    if isinstance(error, Py4JNetworkError | ConnectionRefusedError):  # a store has errors of its own
        return "Spark's Java has ended, as where memory runs out"
    text = str(error)
    for pattern in (r"^\w*(?:\.\w+)*(?:Error|Exception): (?!.*(?:Job aborted|Task failed))", r"Caused by: "):
        if causes := list(re.finditer(pattern, text, re.MULTILINE)):
            # To its end, which may be lines below: a store's error has the server's answer in it.
            text = re.split(r"\n\s*(?:\n|at )", text[causes[-1].start() :], maxsplit=1)[0].removeprefix("Caused by: ")
            break
    known_cause = store.explain(Exception(text))
    return " ".join(known_cause.split())[:300]


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
