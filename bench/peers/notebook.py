"""The usual notebook: Spark's binaryFile, a pandas UDF over Keras, its weights broadcast.

As in Databricks' reference solution for image inference (docs.databricks.com, images-etl-inference) and the courses
that follow it: plain pyspark, nothing set but the partitions. With a LiteRT file, a pandas UDF over that.
`python -m bench.peers.notebook FOLDER OUTPUT SIZE CORES [MODEL]`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import cast

import numpy as np
import pandas as pd
from PIL import Image
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.functions import pandas_udf

PARTITIONS = 20


def main(folder: str, output: str, *, size: int, cores: int, model: str | None) -> None:
    """Features of every file below `folder`, as parquet in `output`; images of `size` x `size` pixels to the model."""
    spark = SparkSession.builder.master(f"local[{cores}]").getOrCreate()
    features = _keras(spark, size=size) if model is None else _litert(model)
    files = spark.read.format("binaryFile").option("pathGlobFilter", "*.jpg").option("recursiveFileLookup", "true")
    photographs = files.load(folder).repartition(PARTITIONS)
    photographs.select("path", features("content").alias("features")).write.parquet(output)


def _keras(spark: SparkSession, *, size: int) -> Callable[[str], Column]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from launch import lite0  # noqa: PLC0415 - Keras, which the workers import anew

    weights = spark.sparkContext.broadcast(lite0.load(lite0.checkpoint(), image_size=size).get_weights())

    @pandas_udf("array<float>")  # type: ignore[call-overload, untyped-decorator]
    def features(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        net = lite0.network(size)
        net.set_weights(weights.value)
        for contents in batches:
            pictures = [Image.open(BytesIO(content)).convert("RGB").resize((size, size)) for content in contents]
            yield pd.Series(list(net.predict(np.stack([np.asarray(picture) for picture in pictures]), verbose=0)))

    return cast("Callable[[str], Column]", features)


def _litert(path: str) -> Callable[[str], Column]:
    from bench.peers.model import Model  # noqa: PLC0415 - the workers import it anew

    @pandas_udf("array<float>")  # type: ignore[call-overload, untyped-decorator]
    def features(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        model = Model(path)
        for contents in batches:
            yield pd.Series(list(model.features(contents.tolist())))

    return cast("Callable[[str], Column]", features)


if __name__ == "__main__":
    main(*sys.argv[1:3], size=int(sys.argv[3]), cores=int(sys.argv[4]), model=next(iter(sys.argv[5:]), None))
