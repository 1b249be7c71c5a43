"""Makes $SPARK_HOME/classes.jsa, the classes that Spark's programs load, in the form in which Java has them in memory.

With it spark-submit takes 5 s of CPU to a first result instead of 10; every executor and every daemon gains as well.
`spark-defaults.conf` and `spark-env.sh` name it beside classpath.jar, for which alone it holds.
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SPARK = Path(os.environ["SPARK_HOME"])
TIMEOUT_S = 600


def command(*arguments: str) -> list[str]:
    """The command line that `spark-submit` with `arguments` comes to, by the program that it asks itself."""
    (core,) = (SPARK / "jars").glob("spark-core_*.jar")
    scala = core.name.split("_")[1].split("-")[0]
    launcher = [
        "java",
        "-cp",
        f"{SPARK}/jars/*",
        "org.apache.spark.launcher.Main",
        "org.apache.spark.deploy.SparkSubmit",
    ]
    environment = os.environ | {"SPARK_SCALA_VERSION": scala}  # as bin/load-spark-env.sh sets it
    said = subprocess.run(
        [*launcher, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=environment
    ).stdout
    return said.partition("\0\n")[2].split("\0")[:-1]


def main() -> None:
    """Run the training on the class path of classpath.jar alone, and have Java write the archive at its end."""
    started = command("--master", "local[2]", "--properties-file", f"{HERE}/s3a.conf", f"{HERE}/training.py")
    started[started.index("-cp") + 1] = f"{SPARK}/classpath.jar"
    started.insert(1, f"-XX:ArchiveClassesAtExit={SPARK}/classes.jsa")
    subprocess.run(started, check=True, timeout=TIMEOUT_S, cwd="/tmp")


if __name__ == "__main__":
    main()
