"""mrjob's EMR runner with the word count on Spark out of its own examples, and its default release label."""

from __future__ import annotations

from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab


def test_mrjob(lab: Lab, tmp_path: Path):
    python = environments.python("mrjob") / "python"
    (tmp_path / "text.txt").write_text("apple kiwi apple\n")
    (tmp_path / "mrjob.conf").write_text("runners: {}\n")
    options = {
        "--conf-path": "mrjob.conf",
        "--cloud-tmp-dir": f"s3://{BUCKET}/artifacts/mrjob/",
        "--cloud-log-dir": f"s3://{BUCKET}/emrlab-logs/",
        "--output-dir": f"s3://{BUCKET}/results/mrjob/",
        "--region": lab.environment["AWS_REGION"],
        "--iam-service-role": "EMR_DefaultRole",
        "--iam-instance-profile": "EMR_EC2_DefaultRole",
        "--instance-type": "m5.xlarge",
        "--emr-endpoint": lab.environment["AWS_ENDPOINT_URL_EMR"],
        "--s3-endpoint": lab.environment["AWS_ENDPOINT_URL_S3"],
        "--check-cluster-every": "1",
    }
    flags = [word for pair in options.items() for word in pair]
    command = ("-m", "mrjob.examples.mr_spark_wordcount", "-r", "emr", *flags, "text.txt")
    lab.run(python, *command, cwd=tmp_path)
    if lab.real:
        s3 = lab.client("s3")
        parts = s3.list_objects_v2(Bucket=BUCKET, Prefix="results/mrjob/part-")["Contents"]
        texts = [s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read().decode() for each in parts]
        assert sorted("".join(texts).splitlines()) == ["('apple', 2)", "('kiwi', 1)"]
    version = environments.version("mrjob", "mrjob")
    lab.told(f"mrjob {version}", "its example `mr_spark_wordcount` with `-r emr`, on its default release")
