"""Asks Amazon's Price List for the table of prices, and writes it.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

from __future__ import annotations

import json
import tomllib
from datetime import date
from typing import Any

from base import sizing
from launch.emr import aws
from launch.emr.aws import EmrError
from launch.emr.cost import PRICES

ASKED_IN = "eu-central-1"  # the Price List answers there, in us-east-1 and in ap-south-1, for all regions
SOURCE = "AWS Price List API"
LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


def ask(pricing: Any, *, add: str) -> dict[str, dict[str, Any]]:
    """By region the prices of the table's regions, and of `add`, as prices.toml has them.

    Raises:
        EmrError: the list has no price, or several, for something.
        ClientError, BotoCoreError: AWS refuses.
    """
    document = tomllib.loads(PRICES.read_text())
    regions = {name for name, value in document.items() if isinstance(value, dict)} | {add}
    return {region: _region(pricing, region) for region in sorted(regions)}


def render(table: dict[str, dict[str, Any]], *, on: date) -> str:
    """The file, with the comment that the present one begins with."""
    head = "".join(line for line in PRICES.read_text().splitlines(keepends=True) if line.startswith("#"))
    text = f'{head}date = {on.isoformat()}\nsource = "{SOURCE}"\n'
    for region, values in table.items():
        text += f"\n[{region}]\n"
        for name, value in values.items():
            if isinstance(value, dict):
                text += f'"{name}" = {{ ec2 = {value["ec2"]:.10g}, emr = {value["emr"]:.10g} }}\n'
            else:
                text += f"{name} = {json.dumps(value)}\n"
    return text


def _region(pricing: Any, region: str) -> dict[str, Any]:
    def of(service: str, what: str, **fields: str) -> float:
        return _one(_prices(pricing, service, fields={"regionCode": region, **fields}), f"{what} in {region}")

    table: dict[str, Any] = {
        "unconfirmed": [],
        "volume_gb_month": of("AmazonEC2", "gp3 volumes", productFamily="Storage", volumeApiName="gp3"),
        "s3_put_1000": 1000 * of("AmazonS3", "S3 writes", group="S3-API-Tier1"),
        "s3_get_1000": 1000 * of("AmazonS3", "S3 reads", group="S3-API-Tier2"),
        "s3_gb_month": of("AmazonS3", "S3 storage", volumeType="Standard", productFamily="Storage"),
    }
    for name in sizing.INSTANCE_TYPES:
        on_demand = _prices(pricing, "AmazonEC2", fields={"regionCode": region, "instanceType": name, **LINUX})
        if not on_demand and name not in sizing.PUBLISHED:
            continue  # a newer type, which the region has not got
        table[name] = {
            "ec2": _one(on_demand, f"{name} in {region}"),
            "emr": of("ElasticMapReduce", f"EMR on {name}", instanceType=name, softwareType="EMR"),
        }
    return table


def _one(prices: set[float], what: str) -> float:
    if len(prices) != 1:
        several = f"several prices ({', '.join(map(str, sorted(prices)))})" if prices else "no price"
        raise EmrError(f"Amazon's list has {several} of {what}; {PRICES.name} is left as it is, correct it by hand")
    return prices.pop()


def _prices(pricing: Any, service: str, *, fields: dict[str, str]) -> set[float]:
    """The prices on demand of what fits; the first step of those that fall with the amount."""
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
    products = [
        json.loads(each)
        for each in aws.pages(pricing, "get_products", "PriceList", ServiceCode=service, Filters=filters)
    ]
    return {
        float(dimension["pricePerUnit"]["USD"])
        for product in products
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension.get("beginRange", "0") == "0" and float(dimension["pricePerUnit"]["USD"]) > 0
    }
