"""Counts the words of a text: `word_count.py TEXT RESULT`, both in S3."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split

if __name__ == "__main__":
    text, result = sys.argv[1:]
    spark = SparkSession.builder.appName("word count").getOrCreate()
    words = spark.read.text(text).select(explode(split(col("value"), " ")).alias("word"))
    words.groupBy("word").count().write.mode("overwrite").parquet(result)
    sys.stdout.write(f"{words.count()} words counted\n")
    spark.stop()
