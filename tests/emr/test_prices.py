"""The table of prices anew out of Amazon's list, whose answers stand as botocore's model has them."""

import json
import tomllib
from datetime import date

import pytest

from base import sizing
from launch.emr import cost, prices


def product(usd, *, begin="0"):
    dimensions = {"x": {"beginRange": begin, "pricePerUnit": {"USD": f"{usd:.10f}"}}}
    return json.dumps({"product": {}, "terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}}})


@pytest.fixture
def table(tmp_path, monkeypatch):
    path = tmp_path / "prices.toml"
    path.write_text(
        '# What Amazon charges.\ndate = 2020-01-01\nsource = "memory"\n\n[eu-west-3]\nunconfirmed = ["S3"]\n'
    )
    for module in (prices, cost):
        monkeypatch.setattr(module, "PRICES", path)
    monkeypatch.setattr(sizing, "INSTANCE_TYPES", {"m5.xlarge": sizing.INSTANCE_TYPES["m5.xlarge"]})
    return path


def answers(stubs, region, **given):
    usd = {"gp3": 0.0928, "put": 0.0000053, "get": 0.00000042, "storage": 0.024, "ec2": 0.224, "emr": 0.048} | given
    for service, what, more in (
        ("AmazonEC2", "gp3", {"productFamily": "Storage", "volumeApiName": "gp3"}),
        ("AmazonS3", "put", {"group": "S3-API-Tier1"}),
        ("AmazonS3", "get", {"group": "S3-API-Tier2"}),
        ("AmazonS3", "storage", {"volumeType": "Standard", "productFamily": "Storage"}),
        ("AmazonEC2", "ec2", {"instanceType": "m5.xlarge", **prices.LINUX}),
        ("ElasticMapReduce", "emr", {"instanceType": "m5.xlarge", "softwareType": "EMR"}),
    ):
        filters = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in {"regionCode": region, **more}.items()
        ]
        found = usd[what] if isinstance(usd[what], list) else [product(usd[what])]
        stubs.answer("pricing", "get_products", {"PriceList": found}, {"ServiceCode": service, "Filters": filters})


def test_the_file_is_written_with_its_date_and_nothing_unconfirmed(launch, stubs, table):
    answers(stubs, "eu-central-1", ec2=0.23)
    answers(stubs, "eu-west-3")
    code, out, _ = launch("emr-prices", "--region", "eu-central-1")
    assert code == 0
    assert out == "2 regions with 1 instance types are in prices.toml\n"
    stubs.assert_all_asked()
    written = tomllib.loads(table.read_text())
    assert table.read_text().startswith("# What Amazon charges.\n")
    assert written["date"] >= date(2026, 11, 22)
    assert written["source"] == "AWS Price List API"
    assert written["eu-central-1"]["m5.xlarge"] == {"ec2": 0.23, "emr": 0.048}
    assert written["eu-west-3"] == {
        "unconfirmed": [],
        "volume_gb_month": 0.0928,
        "s3_put_1000": pytest.approx(0.0053),
        "s3_get_1000": pytest.approx(0.00042),
        "s3_gb_month": 0.024,
        "m5.xlarge": {"ec2": 0.224, "emr": 0.048},
    }
    assert cost.prices("eu-west-3", table)["unconfirmed"] == []


def test_steps_of_large_amounts_and_free_ones_do_not_count(stubs, table):
    answers(stubs, "eu-west-3", storage=[product(0.024), product(0.023, begin="51200"), product(0.0)])
    assert prices.ask(stubs.client("pricing"), add="eu-west-3")["eu-west-3"]["s3_gb_month"] == 0.024


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "Amazon's list has no price of m5.xlarge in eu-west-3"),
        ([product(0.2), product(0.3)], r"Amazon's list has several prices (0.2, 0.3) of m5.xlarge in eu-west-3"),
    ],
)
def test_a_list_that_is_not_clear_changes_nothing(launch, stubs, table, found, words):
    before = table.read_text()
    answers(stubs, "eu-west-3", ec2=found)
    code, _, error = launch("emr-prices")
    assert code == 1
    assert words in error
    assert len(error.splitlines()) == 1
    assert table.read_text() == before


def test_the_real_file_is_what_render_writes():
    """So that a refresh shows the prices that changed, and nothing else."""
    document = tomllib.loads(cost.PRICES.read_text())
    regions = {name: value for name, value in document.items() if isinstance(value, dict)}
    text = prices.render(regions, on=document["date"]).replace(prices.SOURCE, document["source"])
    assert text == cost.PRICES.read_text()


def test_a_newer_type_that_a_region_has_not_got_is_left_out(stubs, table, monkeypatch):
    types = sizing.INSTANCE_TYPES | {"c7a.xlarge": sizing.Node(name="c7a.xlarge", vcpu=4, memory_mb=8192, yarn_mb=6144)}
    monkeypatch.setattr(sizing, "INSTANCE_TYPES", types)
    answers(stubs, "eu-west-3")
    stubs.answer("pricing", "get_products", {"PriceList": []})
    found = prices.ask(stubs.client("pricing"), add="eu-west-3")["eu-west-3"]
    assert "m5.xlarge" in found
    assert "c7a.xlarge" not in found
