"""The one table of Spark settings."""

import pytest

from base import sizing
from base.sizing import Executors
from base.spark_conf import Setting
from launch import docker_lab, targets
from launch.docker_lab import LabError, Nodes

M5 = Nodes(2, sizing.instance("m5.xlarge"))
SHAPE = Executors(cores=4, heap_mb=4096, overhead_mb=6144, instances=2)


def values(settings):
    found = {setting.key: setting.value for setting in settings}
    assert len(found) == len(settings), "no setting stands twice"
    return found


def emr(given=None):
    return targets.emr(SHAPE, given, own=targets.IMAGES, bucket="photos-of-mine", region="eu-west-1")


def local(locations, given=None):
    return targets.local(locations, given, own=targets.IMAGES)


def lab(shape=SHAPE, given=None):
    return targets.lab(shape, given, own=targets.IMAGES)


@pytest.mark.parametrize("settings", [local(["s3://b/x"]), lab(), emr()], ids=["local", "lab", "emr"])
def test_every_setting_has_a_reason(settings):
    assert all(setting.reason.strip() and setting.value.strip() for setting in settings)


def test_the_lab_has_the_executors_that_emr_has():
    found = values(lab(docker_lab.executors(M5, {})))
    assert found["spark.executor.cores"] == "4"
    assert found["spark.executor.memory"] == "4g"
    assert found["spark.executor.memoryOverhead"] == "6g"
    assert found["spark.executor.instances"] == "2"
    assert found["spark.cores.max"] == "8"
    assert found["spark.pyspark.python"] == found["spark.pyspark.driver.python"] == "/opt/emrlab/bin/python"
    assert found["spark.submit.deployMode"] == "client"
    assert found["spark.eventLog.dir"] == "s3://emrlab/spark-events"


def test_s3a_is_the_clusters_own_there_and_passed_here():
    s3a = values(targets.s3a())
    assert s3a["spark.hadoop.fs.s3a.committer.name"] == "magic"
    assert s3a.items() <= values(local(["s3://b/x"])).items()
    assert not s3a.keys() & values(lab()).keys()
    assert not s3a.keys() & values(local(["/photos"])).keys()


def test_everything_that_is_no_matter_of_place_is_the_same_in_both():
    here, there = values(local([])), values(lab())
    both = here.keys() & there.keys()
    assert {setting.key for setting in (*targets.EVERYWHERE, *targets.IMAGES)} <= both
    assert {key for key in both if here[key] != there[key]} == {"spark.master", "spark.sql.shuffle.partitions"}


def test_emr_differs_from_the_lab_in_master_region_and_logs_alone():
    there, in_lab = values(emr()), values(lab())
    assert in_lab.keys() - there.keys() == {"spark.master", "spark.cores.max"}, "YARN is EMR's, and counts instances"
    assert {key: value for key, value in there.items() if in_lab.get(key) != value} == {
        "spark.executorEnv.AWS_REGION": "eu-west-1",
        "spark.eventLog.dir": "s3://photos-of-mine/spark-events",
        "spark.yarn.heterogeneousExecutors.enabled": "false",
        # Of the lab's nodes their own configuration has it, as all of S3A's.
        "spark.hadoop.fs.s3a.retry.limit": "7",
        "spark.hadoop.fs.s3a.retry.interval": "1s",
    }


@pytest.mark.parametrize("settings", [targets.s3a(), emr()], ids=["local, lab", "emr"])
def test_sparks_own_reads_and_writes_outlast_a_minute(settings):
    """S3A waits interval x 2^tries, by chance from a half of that on: Hadoop's exponentialBackoffRetry."""
    found = values(settings)
    first_s = float(found["spark.hadoop.fs.s3a.retry.interval"].removesuffix("s"))
    waits_s = [first_s * 2**tries for tries in range(int(found["spark.hadoop.fs.s3a.retry.limit"]))]
    assert sum(waits_s) / 2 >= 60


@pytest.mark.parametrize("table", [lambda given: local([], given), lambda given: lab(SHAPE, given), emr])
def test_what_is_given_overrides_and_says_so(table):
    found = table({"spark.driver.memory": "2g", "spark.speculation": "true"})
    assert values(found)["spark.driver.memory"] == "2g"
    assert values(found)["spark.speculation"] == "true"
    said = {setting.key: setting.reason for setting in found}
    assert said["spark.driver.memory"] == said["spark.speculation"] == "given on the command line"
    assert said["spark.sql.ansi.enabled"] != "given on the command line"


def test_a_jobs_own_settings_come_before_the_targets_and_those_of_the_command_line_before_them():
    own = [Setting("spark.driver.memory", "3g", "its own"), Setting("spark.speculation", "true", "its own")]
    found = {setting.key: setting for setting in targets.lab(SHAPE, {"spark.speculation": "false"}, own=own)}
    assert found["spark.driver.memory"] == own[0]
    assert found["spark.speculation"].value == "false"


def test_a_job_of_ones_own_has_sparks_defaults():
    for found in (targets.local([]), targets.lab(SHAPE), targets.emr(SHAPE, bucket="b", region="eu-west-1")):
        assert not [setting.key for setting in found if setting.key.startswith("spark.sql.")]


def test_the_cores_follow_what_is_given():
    given = {"spark.executor.cores": "2", "spark.executor.instances": "3"}
    shape = docker_lab.executors(M5, given)
    found = values(lab(shape, given))
    assert found["spark.cores.max"] == "6"
    assert found["spark.sql.shuffle.partitions"] == "6"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"spark.executor.cores": "8"}, "spark.executor.cores 8: m5.xlarge has 4 vCPU"),
        ({"spark.executor.memory": "7g"}, "= 13312 MB is above YARN's limit of 12288 MB a container on m5.xlarge"),
        ({"spark.executor.instances": "3"}, "hold 2 beside the application master"),
        (
            {"spark.executor.instances": "3", "spark.executor.memory": "1g", "spark.executor.memoryOverhead": "1g"},
            "the lab's 2 workers with 4 cores each hold 2; lower one of them",
        ),
        ({"spark.executor.cores": "some"}, "--conf spark.executor.cores=some: give a whole number from 1"),
        ({"spark.executor.instances": "0"}, "give a whole number from 1"),
        ({"spark.executor.memory": "much"}, "'much' is no memory size"),
        ({"spark.cores.max": "1"}, "--conf spark.cores.max is instances x cores"),
    ],
)
def test_a_shape_that_would_wait_for_ever_is_refused(given, words):
    with pytest.raises((LabError, sizing.SizingError)) as caught:
        docker_lab.check(docker_lab.executors(M5, given), M5)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_usual_shape_of_every_instance_type_fits():
    for node in sizing.INSTANCE_TYPES.values():
        nodes = Nodes(2, node)
        docker_lab.check(docker_lab.executors(nodes, {}), nodes)
