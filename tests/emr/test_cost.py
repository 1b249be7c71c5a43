"""Money: the table, the estimate reckoned by hand, the limit, the instances' hours."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from base import sizing
from bench import costs
from launch.emr import cost, s3_requests
from launch.emr.cost import CostError, Rate
from launch.emr.request import Cluster
from launch.emr.s3_requests import Requests

CLUSTER = Cluster(bucket="bucket", region="eu-west-3", release="emr-spark-8.1.0")
MEASURED = Rate(images_s=50.0, model="lite0", image_size=224, source="here")
LOOSE, NONE = Requests(puts=34_000, gets=34_000), Requests(puts=0, gets=0)
BENCH = {
    "date": "2026-11-22",
    "processor": "A Processor",
    "cores": 2,
    "model": "lite0",
    "image_size": 100,
    "extract_images_s": 600.0,
}


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(BENCH))
    return path


def a_run(
    folder,
    name="lite0-100-0123456789ab.tflite",
    extracted=2000,
    seconds=10.0,
    started="2026-11-01T10:00",
    master="local[2]",
    record=None,
):
    folder.mkdir(parents=True)
    if record is not None:
        (folder / "emr.json").write_text(json.dumps(record))
    run = {
        "started": started,
        "model": {"name": name},
        "counts": {"extracted": extracted},
        "seconds": {"extract": seconds},
        "cluster": {"slots": 2, "master": master},
    }
    (folder / "run.json").write_text(json.dumps(run))
    return folder / "run.json"


UNPRICED = {f"{family}.{size}" for family in ("m7g", "c7a", "c7g") for size in ("xlarge", "2xlarge", "4xlarge")}


@pytest.mark.parametrize("region", ["eu-west-1", "eu-west-3", "us-east-1"])
def test_every_instance_type_that_fits_has_prices(region):
    """But for those whose prices had no source when the table was made; emr-prices asks for them."""
    table = cost.prices(region)
    for name, node in sizing.INSTANCE_TYPES.items():
        if name in UNPRICED and name not in table:
            with pytest.raises(CostError, match=f"INSTANCE_TYPE={name} has no price; run: make emr-prices"):
                cost.hour_usd(replace(CLUSTER, region=region, instance_type=name))
            continue
        assert 0 < table[name]["emr"] < table[name]["ec2"]
        a_vcpu = table[name]["ec2"] / node.vcpu
        assert 0.03 < a_vcpu < 0.08, f"{name}: ${a_vcpu} a vCPU and hour"
    assert table["source"]
    assert table["date"]


def test_another_region_is_refused_with_the_way_to_add_it():
    with pytest.raises(
        CostError, match=r"REGION=ap-south-1 has no prices .*choose eu-west-1, .*emr-prices REGION=ap-south-1"
    ):
        cost.prices("ap-south-1")


def test_an_hour_is_machines_emr_volumes_and_public_addresses():
    table = cost.prices("eu-west-3")
    a_node = table["m5.xlarge"]["ec2"] + table["m5.xlarge"]["emr"] + 52 * table["volume_gb_month"] / 730 + 0.005
    assert cost.hour_usd(CLUSTER) == pytest.approx(3 * a_node)
    assert cost.hour_usd(replace(CLUSTER, workers=4)) == pytest.approx(5 * a_node)


def test_the_estimate_is_what_its_rules_say():
    found = cost.estimate(CLUSTER, MEASURED, images=34_000, size_bytes=10**10, requests=LOOSE)
    assert found.images_s == pytest.approx(8 * 50 / 2 * 0.85), "four cores of two threads"
    work_s = 90 + 34_000 / 170 * 1.25
    assert found.minutes == pytest.approx((480 + work_s + 60) / 60)
    table = cost.prices("eu-west-3")
    requests = 34 * (table["s3_put_1000"] + table["s3_get_1000"])
    assert found.usd == pytest.approx(found.minutes / 60 * cost.hour_usd(CLUSTER) + requests)
    assert found.storage_usd == pytest.approx(10 * table["s3_gb_month"])
    assert json.loads(json.dumps(found.as_json()))["images"] == 34_000


def test_on_a_cluster_that_runs_only_the_work_counts():
    found = cost.estimate(CLUSTER, MEASURED, images=340, size_bytes=0, requests=NONE, running=True)
    assert found.minutes == pytest.approx((90 + 2.5) / 60)
    assert "the cluster runs already" in found.basis


def test_what_has_no_source_is_said():
    said = cost.words(cost.estimate(CLUSTER, MEASURED, images=1, size_bytes=0, requests=NONE), in_emr_lab=False)
    table = cost.prices("eu-west-3")
    assert f"prices of eu-west-3 from {table['date']}" in said
    for name in table["unconfirmed"]:
        assert name in said
    assert "here" in said
    assert "assumed" in said


def test_every_price_in_the_emr_lab_is_said_to_be_that_of_aws():
    found = cost.estimate(CLUSTER, MEASURED, images=1000, size_bytes=10**10, requests=LOOSE)
    there, here = (cost.words(found, in_emr_lab=in_emr_lab).splitlines() for in_emr_lab in (False, True))
    assert there[0].startswith(f"estimate    ${found.usd:.2f}: ")
    assert here[0].startswith(
        f"estimate    nothing, the EMR lab is free; on AWS the same run would cost ${found.usd:.2f}: "
    )
    assert all("on AWS" in line for line in here if "$" in line)
    assert not [line for line in there if "AWS" in line]
    assert cost.words_after(0.5, minutes=12.3, in_emr_lab=False) == (
        "cost        $0.50 at list prices in 12 minutes; the bill comes from Amazon\n"
    )
    assert cost.words_after(0.05, minutes=3.4, in_emr_lab=True) == (
        "cost        nothing, the EMR lab is free; on AWS these 3 minutes would cost $0.05 at list prices\n"
    )


def test_over_the_limit_is_refused():
    found = cost.estimate(CLUSTER, MEASURED, images=10**7, size_bytes=0, requests=Requests(puts=0, gets=10**7))
    with pytest.raises(CostError, match=r"the run would cost \$\d+\.\d\d \(S3's requests .*\), over MAX_USD=5"):
        cost.check(found, max_usd=5)
    cost.check(found, max_usd=1000)


def test_the_newest_run_with_this_model_and_size_is_the_measure(tmp_path, bench):
    runs = [
        a_run(tmp_path / "a"),
        a_run(tmp_path / "b", seconds=5.0, started="2026-11-02T10:00"),
        a_run(tmp_path / "c", name="vgg16-100-0123456789ab.tflite", started="2026-11-03T10:00"),
    ]
    found = cost.rate("lite0", 100, runs=runs, bench=bench)
    assert found.images_s == 200
    assert found.source == "run of 2026-11-02T10:00 on local[2]"


@pytest.mark.parametrize(
    ("master", "record"),
    [
        ("spark://spark-master:7077", None),
        ("yarn", None),
        ("yarn", {"billed": False, "nodes": "3 x m5.xlarge"}),
        ("yarn", {"billed": True, "nodes": "3 x unheard.of"}),
    ],
)
def test_a_run_in_the_lab_is_no_measure(tmp_path, bench, master, record):
    """Its containers share this machine's cores, however many they are said to be."""
    runs = [a_run(tmp_path / "a", master=master, record=record)]
    assert cost.rate("lite0", 100, runs=runs, bench=bench).source == "make bench of 2026-11-22 on A Processor"


def test_a_run_on_amazon_is_measured_by_the_vcpu_of_its_instances(tmp_path, bench):
    record = {"billed": True, "nodes": "3 x m5.xlarge"}
    found = cost.rate("lite0", 100, runs=[a_run(tmp_path / "a", master="yarn", record=record)], bench=bench)
    assert (found.images_s, found.on_cluster) == (200.0, True)
    on = {
        name: cost.estimate(
            replace(CLUSTER, region="us-east-1", instance_type=name), found, images=1, size_bytes=0, requests=NONE
        )
        for name in ("m5.xlarge", "m6g.xlarge")
    }
    assert on["m5.xlarge"].images_s == pytest.approx(8 * 100), "what was measured"
    assert on["m6g.xlarge"].images_s == pytest.approx(8 * 200), "a vCPU there is a core"
    assert "halved" in on["m5.xlarge"].basis[0]
    assert "halved" not in on["m6g.xlarge"].basis[0]


def test_requests_are_said_and_that_sending_is_nothing_where_the_photographs_are():
    sent, there = (
        cost.estimate(
            CLUSTER,
            MEASURED,
            images=10**6,
            size_bytes=10**10,
            requests=Requests(puts=count, gets=10**6),
            upload_bytes=size,
        )
        for count, size in ((10**6, 10**10), (0, 0))
    )
    table = cost.prices("eu-west-3")
    assert sent.usd - there.usd == pytest.approx(1000 * table["s3_put_1000"])
    assert f"requests    of it S3's: ${sent.send_usd:.2f} once to send the photographs, $0.42 to read them\n" in (
        cost.words(sent, in_emr_lab=False)
    )
    assert "none to send the photographs, $0.42 to read them" in cost.words(there, in_emr_lab=False)
    assert "sending     67 minutes at 20 Mbit/s: assumed, and not billed\n" in cost.words(sent, in_emr_lab=False)
    assert "sending" not in cost.words(there, in_emr_lab=False)


def test_what_a_cluster_measured_counts_in_full():
    there = replace(MEASURED, on_cluster=True)
    rates = [cost.estimate(CLUSTER, each, images=1, size_bytes=0, requests=NONE).images_s for each in (MEASURED, there)]
    assert rates[0] == pytest.approx(0.85 * rates[1])


@pytest.mark.parametrize("few", [{"extracted": 900}, {"name": "mine.tflite"}])
def test_a_small_run_measures_nothing(tmp_path, bench, few):
    assert cost.rate("lite0", 100, runs=[a_run(tmp_path / "a", **few)], bench=bench).images_s == 300


def test_a_broken_record_is_passed_over(tmp_path, bench):
    (tmp_path / "run.json").write_text("{")
    assert cost.rate("lite0", 100, runs=[tmp_path / "run.json", tmp_path / "gone.json"], bench=bench).images_s == 300


@pytest.mark.parametrize(
    ("model", "size", "factor"),
    [("lite0", 200, 1 / 4), ("lite0-int8", 100, 1), ("vgg16", 100, 0.41 / 15.5), ("mine.keras", 100, 0.41 / 15.5)],
)
def test_what_was_not_measured_is_scaled_by_pixels_and_work(bench, model, size, factor):
    found = cost.rate(model, size, runs=[], bench=bench)
    assert found.images_s == pytest.approx(300 * factor)
    assert "scaled" in found.source


def test_the_benchmarks_own_figures_are_understood():
    found = cost.rate("lite0", 100, runs=[])
    assert 20 < found.images_s < 5000
    assert "scaled" not in found.source


def test_without_any_measure_the_fix_is_named(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    for name in ("results.json", "gone.json"):
        with pytest.raises(CostError, match="make bench"):
            cost.rate("lite0", 100, runs=[], bench=tmp_path / name)


def test_the_instances_hours_by_the_second_and_a_minute_at_least():
    start = datetime(2026, 11, 22, 10, tzinfo=UTC)
    instances: list[dict[str, Any]] = [
        {"Status": {"Timeline": {"CreationDateTime": start, "EndDateTime": start + timedelta(minutes=30)}}},
        {"Status": {"Timeline": {"CreationDateTime": start, "EndDateTime": start + timedelta(seconds=5)}}},
        {"Status": {"Timeline": {"CreationDateTime": start}}},
        {"Status": {}},
    ]
    a_node = cost.hour_usd(CLUSTER) / 3
    found = cost.actual_usd(CLUSTER, instances, now=start + timedelta(hours=1))
    assert found == pytest.approx((0.5 + 1 / 60 + 1) * a_node)


def test_shards_are_spoken_of_where_they_save_something():
    found, small = (
        cost.estimate(
            CLUSTER,
            MEASURED,
            images=images,
            size_bytes=5000 * images,
            requests=Requests(puts=images, gets=images),
            in_shards=s3_requests.in_shards(images, 5000 * images),
        )
        for images in (10**6, 1000)
    )
    table = cost.prices("eu-west-3")
    assert found.requests_usd == pytest.approx(1000 * (table["s3_put_1000"] + table["s3_get_1000"]))
    assert found.sharded_usd is not None
    assert found.sharded_usd < 0.01 < found.requests_usd
    assert "shards      $0.01 in place of $5.72, were they in shards: make shards\n" in (
        cost.words(found, in_emr_lab=False)
    )
    assert "$0.01 in place of $5.72 on AWS, were" in cost.words(found, in_emr_lab=True)
    assert "shards" not in cost.words(small, in_emr_lab=False)
    assert "shards" not in cost.words(replace(found, sharded_usd=None), in_emr_lab=False)


def test_a_million_small_images_in_shards_cost_a_dollar_at_most():
    """A million JPEGs of 100 pixels, sent, read and extracted, by the benchmark's own rate."""
    rate = cost.rate("lite0", 100, runs=[])
    of_shards = s3_requests.in_shards(10**6, 10**6 * costs.IMAGE_BYTES[100])
    files = Requests(puts=10**6, gets=10**6)
    loose, packed = (
        cost.estimate(CLUSTER, rate, images=10**6, size_bytes=0, requests=requests) for requests in (files, of_shards)
    )
    assert packed.usd <= 1
    assert loose.usd > 5
    assert of_shards.gets <= 10**6 / 100, "a hundredth of a request an image"


def test_the_benchmark_says_what_a_run_will_cost():
    figure = r"([0-9,]+) min, \$([0-9.,]+) \|"
    rows = re.findall(rf"^\| ([0-9,]+) \| {' '.join([figure] * 4)}$", costs.table(), re.MULTILINE)
    figures = [[float(figure.replace(",", "")) for figure in row] for row in rows]
    assert [row[0] for row in figures] == list(costs.IMAGES)
    for _, *row in figures:
        minutes, usd = row[::2], row[1::2]
        assert minutes[0] == minutes[1] <= minutes[2] == minutes[3], "requests take no time of the machines"
        assert usd[0] >= usd[1] <= usd[3] <= usd[2], "shards save, larger pictures cost"
    assert figures == sorted(figures)
    assert figures[0][2] < figures[-1][2]
