"""Run by a Python that has Spark Connect's client and nothing of ours: asks a session, prints what it got as JSON.

`renewed` has launch/connect_client.py beside it, as a user copies it.
"""

import json
import os
import sys

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.connect.session import SparkSession as ConnectSession
from pyspark.sql.functions import pandas_udf  # type: ignore[attr-defined]

URL = os.environ["URL"]


def say(name: str, value: object) -> None:
    print(json.dumps({name: value}), flush=True)  # noqa: T201


def failure(url: str) -> str:
    try:
        ConnectSession.builder.remote(url).create().sql("SELECT 1").collect()
    except Exception as error:  # noqa: BLE001 - what a user would see, whatever it is
        return str(error)
    return ""


def queries(spark: SparkSession) -> None:
    say("version", spark.version)
    say("sum", spark.range(1000).selectExpr("sum(id) AS sum").collect()[0]["sum"])

    @pandas_udf("string")  # type: ignore[untyped-decorator]
    def node(ids: pd.Series) -> pd.Series:
        import socket

        import numpy as np

        assert np.__version__
        return pd.Series([socket.gethostname()] * len(ids))

    say("nodes", sorted({row["node"] for row in spark.range(8).select(node("id").alias("node")).collect()}))
    rows = [("apple", 1), ("kiwi", 2)]
    frame: pd.DataFrame = spark.createDataFrame(rows, "name string, n int").toPandas()
    say("frame", frame["n"].sum().item())


if sys.argv[1] == "queries":
    queries(SparkSession.builder.remote(URL).getOrCreate())
elif sys.argv[1] == "refused":
    for name, url in json.loads(os.environ["URLS"]).items():
        say(name, failure(url))
elif sys.argv[1] == "renewed":
    import connect_client  # type: ignore[import-not-found]

    spark = connect_client.connect()
    say("sum", spark.range(1000).selectExpr("sum(id) AS sum").collect()[0]["sum"])
    spark.addArtifacts(__file__, file=True)  # by a client of its own, that keeps the headers
    say("sent", True)
else:  # a query that outlasts its server
    spark = ConnectSession.builder.remote(URL).create()

    @pandas_udf("long")  # type: ignore[untyped-decorator]
    def slow(ids: pd.Series) -> pd.Series:
        import time

        time.sleep(600)
        return ids

    say("asks", True)
    try:
        spark.range(4).select(slow("id")).collect()
    except Exception as error:  # noqa: BLE001
        say("lost", str(error))
