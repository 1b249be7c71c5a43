"""Secrets among the settings of a run are not shown."""

import pytest

from launch import __main__ as cli
from pipeline.redaction import HIDDEN, redacted, redacted_argument
from pipeline.settings import UsageError, location

SECRET = "hunter2"  # noqa: S105 - nobody's


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.hadoop.fs.s3a.secret.key", SECRET),
        ("spark.hadoop.fs.s3a.access.key", SECRET),
        ("spark.hadoop.fs.s3a.session.token", SECRET),
        ("spark.hadoop.fs.s3a.encryption.key", SECRET),
        ("spark.hadoop.fs.s3a.bucket.mine.server-side-encryption.key", SECRET),
        ("spark.executorEnv.AWS_SECRET_ACCESS_KEY", SECRET),
        ("spark.executorEnv.DB_PASSWORD", SECRET),
        ("spark.ssl.keyPassword", SECRET),
        ("spark.driver.extraJavaOptions", f"-Dhttp.proxyPassword={SECRET} -Xss4m"),
        ("spark.driver.extraJavaOptions", f"-Da.secret='{SECRET}' -Xss4m"),
        ("spark.jars.repositories", f"https://anna:{SECRET}@repo.example/maven"),
        ("spark.x.url", f"jdbc:postgresql://db/x?user=a&password={SECRET}&ssl=1"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(key, value):
    assert SECRET not in redacted(key, value)
    assert HIDDEN in redacted(key, value)
    assert SECRET not in redacted_argument(f"{key}={value}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.executor.memory", "4g"),
        ("spark.hadoop.fs.s3a.aws.credentials.provider", "software.amazon.awssdk.auth.credentials.X"),
        ("spark.hadoop.fs.s3a.endpoint", "http://127.0.0.1:9000"),
        ("spark.eventLog.dir", "s3://emrlab/spark-events"),
        ("spark.driver.extraJavaOptions", "-Demrlab.log=info -Demrlab.task.log=info"),
    ],
)
def test_all_else_is_shown(key, value):
    assert redacted(key, value) == value


def test_explain_shows_no_secret(capsys):
    given = ["--conf", f"spark.hadoop.fs.s3a.secret.key={SECRET}"]
    assert cli.main(["run", "--input", "in", "--output", "out", "--explain", *given]) == 0
    printed = capsys.readouterr().out
    assert "spark.hadoop.fs.s3a.secret.key = " in printed
    assert SECRET not in printed


def test_a_key_in_an_address_is_refused_without_being_repeated():
    with pytest.raises(UsageError) as caught:
        location(f"s3://anna:{SECRET}@bucket/x", flag="--input")
    assert "--input has a key in its address" in str(caught.value)
    assert SECRET not in str(caught.value)
