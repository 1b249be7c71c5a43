"""Clusters that ask for another release than the lab's nodes are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from base import releases
from tests.unit.fake_nodes import LABEL, Fake, step

HADOOP = [{"Name": "Hadoop"}, {"Name": "Spark"}]


def take_any(lab: Fake) -> None:
    lab.endpoint_state.capabilities = replace(lab.endpoint_state.capabilities, any_release=True)


@pytest.mark.parametrize("label", ["emr-7.1.0", "emr-6.15.0", "emr-7.14.0"])
def test_a_release_of_amazons_is_refused_with_the_way_to_run_it_all_the_same(lab: Fake, label):
    with pytest.raises(ClientError, match=rf"invalid|not that .*{label}.* EMR_ANY_RELEASE=1") as refused:
        lab.start(ReleaseLabel=label)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("label", ["emr-7.1.0", "emr-6.15.0", "emr-7.14.0"])
def test_a_lab_that_takes_any_release_says_which_one_it_is(lab: Fake, label):
    take_any(lab)
    cluster = lab.start(step("runs", "exit 0"), ReleaseLabel=label, Applications=HADOOP)
    lab.wait(cluster, "TERMINATED")
    described = lab.client.describe_cluster(ClusterId=cluster)["Cluster"]
    ours = releases.find(LABEL)
    assert described["ReleaseLabel"] == label
    versions = {each["Name"]: each["Version"] for each in described["Applications"]}
    assert versions == {"Hadoop": ours.hadoop, "Spark": ours.spark}
    controller = lab.log(f"{cluster}/steps/{lab.step(cluster, 'runs')['Id']}/controller") or ""
    note = f" WARN the cluster asked for {label} and runs on {LABEL}: Spark {ours.spark}, Hadoop {ours.hadoop}"
    assert next(line.partition("Z")[2] for line in controller.splitlines()) == note


@pytest.mark.parametrize(
    ("filters", "is_listed"),
    [
        ({}, True),
        ({"Prefix": "emr-spark-8"}, True),
        ({"Prefix": "emr-7"}, False),
        ({"Application": "Spark"}, True),
        ({"Application": f"spark@{releases.find(LABEL).spark}-amzn-0"}, True),
        ({"Application": "Spark@3.5.6"}, False),
        ({"Application": "Flink"}, False),
    ],
)
def test_release_labels_are_filtered(lab: Fake, filters, is_listed):
    assert lab.client.list_release_labels(Filters=filters)["ReleaseLabels"] == [LABEL] * is_listed


def test_the_labs_own_release_needs_no_note(lab: Fake):
    cluster = lab.start(step("runs", "exit 0"))
    lab.wait(cluster, "TERMINATED")
    assert "WARN" not in (lab.log(f"{cluster}/steps/{lab.step(cluster, 'runs')['Id']}/controller") or "WARN")


@pytest.mark.parametrize("label", ["emr-9.9.9", "emr-spark-8.9.0", "emr-7", "../emr-7.1.0", "emr-7.1.0\n"])
def test_what_is_no_release_of_amazons_is_refused_by_every_lab(lab: Fake, label):
    take_any(lab)
    with pytest.raises(ClientError, match="The supplied release label is invalid") as refused:
        lab.start(ReleaseLabel=label)
    assert "EMR_ANY_RELEASE" not in str(refused.value)


def test_an_application_is_one_of_the_release_that_was_asked_for(lab: Fake):
    take_any(lab)
    with pytest.raises(ClientError, match=f"not valid for release label {LABEL}: Hadoop"):
        lab.start(Applications=HADOOP)
