"""Counts the words of texts: spark-submit job.py TEXTS COUNTS, each a folder or an s3:// prefix."""

import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F


def count_words(lines: DataFrame) -> DataFrame:
    """Each word of the column `value`, and how often it is there: the most frequent first."""
    words = lines.select(F.explode(F.split(F.lower("value"), r"\W+")).alias("word")).where("word != ''")
    return words.groupBy("word").count().orderBy(F.desc("count"), "word")


def run(spark: SparkSession, texts: str, counts: str) -> None:
    """Read `texts`, replace what is in `counts`."""
    counted = count_words(spark.read.text(texts)).cache()
    counted.coalesce(1).write.mode("overwrite").csv(counts, header=True)
    counted.show(5)


if __name__ == "__main__":
    session = SparkSession.builder.appName("word count").getOrCreate()
    run(session, *sys.argv[1:])
    session.stop()
