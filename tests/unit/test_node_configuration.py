"""What a node writes for Hadoop and Spark: EMR's settings for its instance type, and the cluster's own."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from base import sizing
from emr_lab.node import configuration

pytestmark = pytest.mark.timeout(60)


def site(node, name):
    found = ElementTree.parse(node.conf / "hadoop" / f"{name}.xml").getroot()  # noqa: S314 - our own
    return {entry.findtext("name"): entry.findtext("value") for entry in found}


def spark_defaults(node):
    lines = (node.conf / "spark/spark-defaults.conf").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_configuration_is_emrs_for_an_m5_xlarge(client, node):
    client.reset()
    yarn, core = site(node, "yarn-site"), site(node, "core-site")
    assert yarn["yarn.nodemanager.resource.memory-mb"] == yarn["yarn.scheduler.maximum-allocation-mb"] == "12288"
    assert yarn["yarn.scheduler.minimum-allocation-mb"] == "32"
    assert yarn["yarn.nodemanager.pmem-check-enabled"] == "true"
    assert core["fs.defaultFS"].startswith("hdfs://")
    assert core["fs.s3.impl"] == "org.apache.hadoop.fs.s3a.S3AFileSystem"
    assert core["fs.s3a.endpoint"] == "http://minio:9000"
    scheduler = site(node, "capacity-scheduler")
    assert scheduler["yarn.scheduler.capacity.resource-calculator"].endswith("DefaultResourceCalculator")
    assert scheduler["yarn.scheduler.capacity.maximum-am-resource-percent"] == "0.100"
    spark = spark_defaults(node)
    assert (spark["spark.master"], spark["spark.executor.cores"]) == ("yarn", "4")
    assert (spark["spark.executor.memory"], spark["spark.driver.memory"]) == ("9486M", "2048M")
    assert spark["spark.sql.warehouse.dir"] == "hdfs:///user/spark/warehouse", "which all nodes reach"
    # A node's key comes from the metadata service: S3A's list of places is its own.
    assert not any("credentials" in key for key in [*spark, *core])


@pytest.mark.parametrize("yarn_mb", [2304, 7488, 12288, 24576])
def test_the_default_executor_leaves_room_for_the_application_master_of_client_mode(yarn_mb):
    given = configuration.executor(replace(sizing.instance("m5.xlarge"), yarn_mb=yarn_mb), alone=False)
    heap_mb = sizing.memory_mb(given["spark.executor.memory"])
    overhead_mb = max(384, int(heap_mb * 0.1875))
    assert heap_mb + overhead_mb <= yarn_mb - sizing.APPLICATION_MASTER_MB


@pytest.mark.parametrize("yarn_mb", [4864, 7488, 12288])
def test_on_a_node_alone_the_default_executor_leaves_room_for_the_driver_of_cluster_mode(yarn_mb):
    given = configuration.executor(replace(sizing.instance("m5.xlarge"), yarn_mb=yarn_mb), alone=True)
    heap_mb, driver_mb = (sizing.memory_mb(given[f"spark.{who}.memory"]) for who in ("executor", "driver"))
    assert heap_mb + max(384, int(heap_mb * 0.1875)) + driver_mb + 384 <= yarn_mb


def test_as_many_applications_run_at_once_on_small_nodes_as_on_emrs(client, node, monkeypatch):
    monkeypatch.setattr(sizing, "this_host", lambda: sizing.Host(cpus=2, memory_mb=24 * 1024))
    yarn_mb = client.reset()["yarn_mb"]
    share = float(site(node, "capacity-scheduler")["yarn.scheduler.capacity.maximum-am-resource-percent"])
    assert share * yarn_mb == pytest.approx(0.1 * 12288, rel=0.01)


def test_a_clusters_configurations_win(client, node):
    client.reset(
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "2g", "spark.a": "b  c = d"}},
        {"Classification": "yarn-site", "Properties": {"yarn.nodemanager.pmem-check-enabled": "false"}},
        {"Classification": "core-site", "Properties": {"own": '<a> & "b"'}},
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "3g"}},
    )
    spark = spark_defaults(node)
    assert (spark["spark.executor.memory"], spark["spark.a"], spark["spark.master"]) == ("3g", "b  c = d", "yarn")
    assert site(node, "yarn-site")["yarn.nodemanager.pmem-check-enabled"] == "false"
    assert site(node, "core-site")["own"] == '<a> & "b"'
    client.reset()
    assert "own" not in site(node, "core-site")


def test_exported_variables_are_texts_for_the_shell_not_commands(client, node):
    value = 'it\'s $HOME; `touch x` "q"'
    export = {"Classification": "export", "Properties": {"AWS_REGION": "eu-west-3", "ODD": value}}
    client.reset({"Classification": "spark-env", "Configurations": [export]})
    shown = 'printf "%s|%s|%s" "$AWS_REGION" "$ODD" "$PYSPARK_PYTHON"'
    _, out, _ = client.run("sh", "-c", f". {node.conf}/spark/spark-env.sh; {shown}")
    assert out == f"eu-west-3|{value}|/usr/bin/python3"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Classification": "spark-env", "Properties": {"A": "b"}}, "its variables stand in a nested `export`"),
        ({"Classification": "yarn-site", "Configurations": [{}]}, "has no nested Configurations"),
        ({"Classification": "spark-defaults", "Properties": {"a": "b\nspark.master local"}}, "a is no line of text"),
        ({"Classification": "spark-defaults", "Properties": {"a": 1}}, "a is no line of text"),
        (
            {
                "Classification": "spark-env",
                "Configurations": [{"Classification": "export", "Properties": {"A;b": "c"}}],
            },
            "'A;b' is no name of a variable",
        ),
    ],
)
def test_configurations_that_are_not_of_their_kind_are_refused(client, wrong, words):
    code, said = client.refused("/reset", {"cluster": "j-1", "configurations": [wrong]})
    assert code == 400
    assert words in said
