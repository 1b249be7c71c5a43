"""The jobs: where each comes from, what it is given, and what of its output has to be the same on every target.

Programs are copied as they are installed, and nothing in them is changed. Their folder, with the declaration that a
user would write, is made anew for each run.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch import java

HERE = Path(__file__).parent
SPARK = java.spark_home()
EXAMPLES = SPARK / "examples" / "src" / "main" / "python"
DATA = SPARK / "data"
MASTERS = {"local": "local[*]", "lab": "spark://spark-master:7077", "emr-lab": "yarn"}
TARGETS = tuple(MASTERS)
ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.11.0"


def lines(pattern: str) -> Callable[[str], list[str]]:
    """Of a text, what matches, in order of the alphabet: partitions come in any."""
    return lambda text: sorted(re.findall(pattern, text, re.MULTILINE))


@dataclass(frozen=True, kw_only=True)
class Example:
    """A job of the catalogue.

    Attributes:
        name: in the table.
        program: its file.
        origin: where it comes from, for the table.
        args: its command line; {input} and {output} are its folders, {master} is Spark's master on the target.
        data: files that it reads, copied into its input.
        requirements, packages: of its declaration.
        main_class: of a jar.
        said: what of its standard output is compared; None: the lines that it writes to its output.
        writes: to its output, too, where its standard output is compared.
        exit_code: with which it ends.
    """

    name: str
    program: Path
    origin: str
    args: Sequence[str] = ()
    data: Sequence[Path] = ()
    requirements: Sequence[str] = ()
    packages: Sequence[str] = ()
    main_class: str | None = None
    said: Callable[[str], list[str]] | None = None
    writes: bool = False
    exit_code: int = 0

    def write(self, folder: Path, target: str) -> Path:
        """Make the job's folder, as a user would have it; returns it."""
        folder.mkdir(parents=True)
        shutil.copy(self.program, folder / self.program.name)
        declared: dict[str, object] = {"entry-point": self.program.name}
        if self.requirements:
            (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in self.requirements))
            declared["requirements"] = "requirements.txt"
        if self.packages:
            declared["packages"] = list(self.packages)
        if self.main_class:
            declared["main-class"] = self.main_class
        declared["args"] = [arg.replace("{master}", MASTERS[target]) for arg in self.args]
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in declared.items())
        if self.data:
            (folder / "input").mkdir()
            for path in self.data:
                shutil.copy(path, folder / "input" / path.name)
            text += '[inputs]\ninput = "input"\n'
        if self.writes or self.said is None:
            text += '[outputs]\noutput = "output"\n'
        (folder / "emrlab.toml").write_text(text)
        return folder


OF_SPARK = "Spark's examples, in PyPI's pyspark"
ARROW = ("pyspark[sql]", "pandas<3")
JOBS = (
    Example(name="pi.py", program=EXAMPLES / "pi.py", origin=OF_SPARK, args=["4"], said=lines(r"^Pi is roughly 3\.1")),
    Example(
        name="wordcount.py",
        program=EXAMPLES / "wordcount.py",
        origin=OF_SPARK,
        args=["{input}/users.txt"],
        data=[DATA / "graphx" / "users.txt"],
        said=lines(r"^\S+: \d+$"),
    ),
    Example(
        name="sort.py",
        program=EXAMPLES / "sort.py",
        origin=OF_SPARK,
        args=["{input}/followers.txt"],
        data=[DATA / "graphx" / "followers.txt"],
        said=lines(r"^\d+$"),
    ),
    Example(
        name="kmeans.py",
        program=EXAMPLES / "kmeans.py",
        origin=OF_SPARK,
        args=["{input}/kmeans_data.txt", "2", "0.1"],
        data=[DATA / "mllib" / "kmeans_data.txt"],
        requirements=["numpy"],
        said=lines(r"^Final centers: .*$"),
    ),
    Example(
        name="pagerank.py",
        program=EXAMPLES / "pagerank.py",
        origin=OF_SPARK,
        args=["{input}/pagerank_data.txt", "5"],
        data=[DATA / "mllib" / "pagerank_data.txt"],
        said=lines(r"^\d+ has rank: \d\.\d{6}"),
    ),
    Example(
        name="streaming/queue_stream.py",
        program=EXAMPLES / "streaming/queue_stream.py",
        origin=OF_SPARK,
        said=lambda text: sorted(set(re.findall(r"^\(\d, 100\)$", text, re.M))),
    ),
    Example(
        name="sql/arrow.py",
        program=EXAMPLES / "sql/arrow.py",
        origin=OF_SPARK,
        requirements=ARROW,
        # The table before is of random numbers.
        said=lambda text: sorted(re.findall(r"^\|.*\|$", text.partition("Running pandas_udf example")[2], re.M)),
    ),
    Example(
        name="sql/udtf.py",
        program=EXAMPLES / "sql/udtf.py",
        origin=OF_SPARK,
        requirements=ARROW,
        said=lines(r"^\|.*\|$"),
    ),
    Example(
        name="ml/correlation_example.py",
        program=EXAMPLES / "ml/correlation_example.py",
        origin=OF_SPARK,
        requirements=["numpy"],
        said=lines(r"^(?:Pearson|Spearman|DenseMatrix|\s*\[).*$"),
    ),
    Example(
        name="KMeansDataGenerator (Scala)",
        program=next((SPARK / "jars").glob("spark-mllib_*.jar")),
        origin="a program in Spark MLlib's jar; it takes Spark's master as an argument",
        main_class="org.apache.spark.mllib.util.KMeansDataGenerator",
        args=["{master}", "{output}/points", "20", "2", "3", "0.5", "2"],
    ),
    Example(
        name="bounded_stream.py",
        program=HERE / "bounded_stream.py",
        origin="ours: the quick example of Spark's page on Structured Streaming, which never ends, over a folder",
        args=["{input}"],
        data=[DATA / "graphx" / "users.txt"],
        said=lines(r"^\|.*\|$"),
    ),
    Example(
        name="iceberg_table.py",
        program=HERE / "iceberg_table.py",
        origin="ours: the statements of Iceberg's quick start",
        args=["{output}"],
        packages=[ICEBERG],
        said=lines(r"^\|.*\|$"),
        writes=True,
    ),
    Example(
        name="sort.py without its argument",
        program=EXAMPLES / "sort.py",
        origin=OF_SPARK,
        said=lines(r"^\d+$"),
        exit_code=255,
    ),
)
# What was looked for and not run, and what it lacks.
NOT_RUN = {
    "`sql/basic.py`, `sql/datasource.py`": (
        "Spark's examples; they read examples/src/main/resources, which PyPI's pyspark has not got"
    ),
    "`SparkPi`": "Scala; Spark's jar of examples is in no package registry: `KMeansDataGenerator` is in its place",
    "`structured_network_wordcount.py`": (
        "Spark's example; it reads from a socket and never ends: `bounded_stream.py` is in its place"
    ),
    "`extreme_weather.py`": (
        "AWS's sample in PyPI's emr-cli; it reads the public bucket noaa-gsod-pds, which no lab reaches, and asks "
        "pandas for quantiles of texts, which pandas gave before 2.0 and Spark 4.1 no longer takes"
    ),
}
