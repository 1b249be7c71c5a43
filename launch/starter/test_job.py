"""pytest; with --emrlab on the lab's S3, too."""

import pytest
from pyspark.sql import SparkSession

from job import count_words, run


@pytest.fixture(scope="session")
def spark(request):
    if request.config.getoption("--emrlab", default=False):
        return request.getfixturevalue("emrlab_spark")
    return SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()


def test_words_are_counted(spark):
    lines = spark.createDataFrame([("To be, or not to be",), ("",)], ["value"])
    assert [tuple(row) for row in count_words(lines).take(3)] == [("be", 2), ("to", 2), ("not", 1)]


def test_the_whole_job_on_s3(request, spark):
    pytest.importorskip("emrlab", reason="emrlab is not installed beside pytest")
    emrlab_s3 = request.getfixturevalue("emrlab_s3")
    emrlab_s3.client.put_object(Bucket=emrlab_s3.bucket, Key="texts/a.txt", Body=b"kiwi apple kiwi")
    run(spark, emrlab_s3.uri("texts"), emrlab_s3.uri("counts"))
    listed = emrlab_s3.client.list_objects_v2(Bucket=emrlab_s3.bucket, Prefix="counts/")["Contents"]
    (csv,) = [row["Key"] for row in listed if row["Key"].endswith(".csv")]
    content = emrlab_s3.client.get_object(Bucket=emrlab_s3.bucket, Key=csv)["Body"].read()
    assert content == b"word,count\nkiwi,2\napple,1\n"
