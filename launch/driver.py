"""Runs the job's Python and its JVM beside each other: while Java starts, Python imports what the job needs.

`spark-submit` starts Java first, and Python from it: a second in which one core waits for the other. Here it is as in
pyspark's own shell (pyspark/java_gateway.py): the JVM is Python's child and ends with it, at the end of its stdin.

Started as a file, by the Python that the job runs on: `driver.py MAIN [ARGUMENT …]`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import NoReturn

COMMAND = "EMRLAB_JVM"  # the variable that holds the JVM's command, as JSON
# What pyspark and Spark's PythonGatewayServer know each other by.
CONNECTION, PORT, SECRET = "_PYSPARK_DRIVER_CONN_INFO_PATH", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"
POLL_S = 0.005


def main(argv: Sequence[str]) -> None:
    """Run the script argv[0] with the arguments behind it; it ends this process with its exit code."""
    signals = import_module("pipeline.signals")
    folder = tempfile.TemporaryDirectory()
    with folder:
        connection = Path(folder.name, "connection")
        command, environment = json.loads(os.environ.pop(COMMAND)), os.environ | {CONNECTION: str(connection)}
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as jvm:
            try:
                # Deaf to Ctrl-C until here: the JVM must stay so, or it would fall from under the job.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signals.install_handlers()
                # Held back meanwhile: while a compiled module is imported it would be lost, or become an error.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *signals.TERMINATION))
                import_module("pipeline.main")
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                _await(connection, jvm)
                folder.cleanup()  # what has read the secret keeps it, and whatever ends this process, no file does
                sys.argv[:] = argv
                run_path(argv[0], run_name="__main__")
            except KeyboardInterrupt as stopped:
                sys.stderr.write("error: stopped; run again\n")
                sys.exit(signals.exit_code(stopped))
            except SystemExit as ended:
                # All is said. While the JVM ends, pyspark's server of accumulators would mourn it.
                sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - to the end of this process
                if ended.code in (0, None):
                    _end(jvm)
                raise


def _await(connection: Path, jvm: subprocess.Popen[bytes]) -> None:
    """Let pyspark find the JVM, once it is there; an end of the JVM before that ends this process, too."""
    while not connection.exists():
        if (code := jvm.poll()) is not None:
            if code < 0:
                name = signal.Signals(-code).name
                sys.stderr.write(f"error: Java was ended by {name} while it started, as where memory runs out; ")
                sys.stderr.write("free some, run again\n")
                sys.exit(1)
            sys.stderr.write("error: Java ended before Spark was there, and says why above; correct it, run again\n")
            sys.exit(code or 1)
        time.sleep(POLL_S)
    content = connection.read_bytes()  # port and length of the secret, four bytes each; the secret
    os.environ[PORT], os.environ[SECRET] = str(int.from_bytes(content[:4])), content[8:].decode()


def _end(jvm: subprocess.Popen[bytes]) -> NoReturn:
    """End the JVM and this process after a job that went well, as soon as both have done what they have to.

    In its shutdown hooks the JVM stops Spark, closes the event log and removes its folders. Then it waits 0.3 s for
    threads that are in C, as those that wait for a socket always are (HotSpot's VM_Exit), and has nothing else to do.
    A file that it is to delete at its exit tells when: deleting comes after the hooks. Python, in its turn, would take
    0.2 s to take apart all that was imported.
    """
    hooks = _file_until_exit()
    with suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
    assert jvm.stdin is not None  # noqa: S101 - it is a pipe
    jvm.stdin.close()
    while jvm.poll() is None and (hooks is None or hooks.exists()):
        time.sleep(POLL_S)
    jvm.kill()
    jvm.wait()
    os._exit(0)


def _file_until_exit() -> Path | None:
    """A file that the JVM deletes when its hooks have run; None where the job has no line to it."""
    context = import_module("pyspark").SparkContext
    if context._jvm is None:
        return None
    descriptor, name = tempfile.mkstemp(prefix="emrlab-")
    os.close(descriptor)
    context._jvm.java.io.File(name).deleteOnExit()
    return Path(name)


if __name__ == "__main__":
    main(sys.argv[1:])
