"""The statements of Iceberg's quick start, over a Hadoop catalog whose warehouse is given; its runtime is Maven's."""

import sys

from pyspark.sql import SparkSession

(warehouse,) = sys.argv[1:]
spark = (
    SparkSession.builder.appName("iceberg")
    .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
    .config("spark.sql.catalog.local", "org.apache.iceberg.spark.SparkCatalog")
    .config("spark.sql.catalog.local.type", "hadoop")
    .config("spark.sql.catalog.local.warehouse", warehouse)
    .getOrCreate()
)
spark.sql("CREATE OR REPLACE TABLE local.db.table (id bigint, data string) USING iceberg")
spark.sql("INSERT INTO local.db.table VALUES (1, 'a'), (2, 'b'), (3, 'c')")
spark.sql("DELETE FROM local.db.table WHERE id = 2")
spark.sql("SELECT count(1) AS count, data FROM local.db.table GROUP BY data ORDER BY data").show()
spark.sql("SELECT operation FROM local.db.table.snapshots ORDER BY committed_at").show()
spark.stop()
