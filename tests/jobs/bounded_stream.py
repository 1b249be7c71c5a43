"""The quick example of Spark's page on Structured Streaming, over a folder of text, ended when that has been read."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import explode, split

(source,) = sys.argv[1:]
spark = SparkSession.builder.appName("StructuredWordCount").config("spark.sql.shuffle.partitions", 2).getOrCreate()
lines = spark.readStream.text(source)
words = lines.select(explode(split(lines.value, ",")).alias("word"))
counts = words.groupBy("word").count()
query = (
    counts.writeStream.outputMode("complete").format("memory").queryName("counts").trigger(availableNow=True).start()
)
query.awaitTermination()
spark.sql("SELECT * FROM counts").show(1000, truncate=False)
spark.stop()
