"""What files that are no Python say of the lab is what base/ says: bucket, region, where S3 is, event logs."""

import re
import tomllib

import pytest
import yaml

from base import defaults, spark_conf
from base.paths import ROOT
from lab import docker
from launch import targets

ENDPOINT = "http://minio:9000"


def values(name):
    return {setting.key: setting.value for setting in spark_conf.read(ROOT / name)}


def test_a_node_of_the_lab_is_told_where_s3_is_as_every_run_is():
    server = spark_conf.s3a_server(address=ENDPOINT, region=defaults.REGION)
    assert {setting.key: setting.value for setting in server}.items() <= values("docker/node/lab.conf").items()


@pytest.mark.parametrize("name", ["docker/node/lab.conf", "emr_lab/node/hadoop/spark-defaults.conf"])
def test_the_event_logs_lie_where_the_history_server_reads(name):
    logs = spark_conf.event_logs(defaults.BUCKET)
    assert values(name)["spark.eventLog.dir"] == logs
    assert values("docker/node/lab.conf")["spark.history.fs.logDirectory"] == logs


def test_the_nodes_python_is_the_jobs():
    assert values("docker/node/lab.conf")["spark.pyspark.python"] == targets.PYTHON


def test_the_lab_has_tables_below_one_folder():
    setting = targets.tables("a-run")
    assert setting.value == f"{values('docker/node/lab.conf')[setting.key]}/a-run"


def test_the_labs_containers_are_known_by_their_images():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert all(service["image"].startswith(docker.IMAGES) for service in services.values())


def test_compose_has_the_same_region_server_and_instance_type():
    text = (ROOT / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"].values()
    environments = [service["environment"] for service in services if "environment" in service]
    assert {each["AWS_REGION"] for each in environments if "AWS_REGION" in each} == {defaults.REGION}
    assert {each["AWS_ENDPOINT_URL_S3"] for each in environments if "AWS_ENDPOINT_URL_S3" in each} == {ENDPOINT}
    assert set(re.findall(r"\$\{INSTANCE_TYPE:-([^}]+)\}", text)) == {defaults.INSTANCE_TYPE}


def test_no_service_asks_another_by_a_proxy_of_this_machines():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    alone = {"secrets", "sessions"}  # without a network; nginx, which knows no such variables
    for name in services.keys() - alone:
        environment = services[name]["environment"]
        assert (environment["NO_PROXY"], environment["no_proxy"]) == ("*", "*"), name


def test_make_runs_on_amazon_where_prices_are_known():
    (region,) = re.findall(r"^REGION \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert region == defaults.REGION
    assert region in tomllib.loads((ROOT / "launch" / "emr" / "prices.toml").read_text())


def test_a_file_of_settings_is_read_as_spark_reads_it(tmp_path):
    (tmp_path / "x.conf").write_text("# of nothing\n\n# why,\n# and more\na  1 2 \nb\t3\n  c\n")
    assert spark_conf.read(tmp_path / "x.conf") == [
        spark_conf.Setting("a", "1 2", "why, and more"),
        spark_conf.Setting("b", "3", ""),
        spark_conf.Setting("c", "", ""),
    ]
