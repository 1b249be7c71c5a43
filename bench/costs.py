"""What a run on Amazon EMR will take and cost, from the rate that `make bench` has just written."""

from __future__ import annotations

from base.defaults import REGION
from launch.emr import cost, s3_requests
from launch.emr.request import Cluster
from launch.emr.s3_requests import Requests

IMAGES = (1_000, 10_000, 100_000, 1_000_000)
IMAGE_BYTES = {100: 5_000, 224: 20_000}  # of a JPEG of so many pixels, about: what shards hold


def table(region: str = REGION) -> str:
    """Minutes and dollars of the default cluster, as Markdown; nothing is asked of AWS.

    Raises:
        CostError: bench/results.json has no rate, or the region no prices.
    """
    cluster = Cluster(bucket="", region=region, release="")
    by_images = {images: _estimates(cluster, images) for images in IMAGES}
    nodes, most = by_images[IMAGES[0]][0].nodes, by_images[IMAGES[-1]][0]
    rows = "".join(
        f"| {images:,} | {' | '.join(f'{each.minutes:,.0f} min, ${each.usd:,.2f}' for each in estimates)} |\n"
        for images, estimates in by_images.items()
    )
    heads = " | ".join(f"{size} pixels, {kind}" for size in IMAGE_BYTES for kind in ("files", "shards"))
    return (
        "\n## What it will take and cost on Amazon EMR\n\n"
        f"Estimated, not measured: {nodes} in {region}, whose vCPUs count half a core of the rate above, x "
        f"{cost.CLUSTER_SHARE:g} on a cluster; {cost.START_S // 60} minutes until it is there; S3's requests, of which "
        f"those of the upload alone (${most.send_usd:.2f} for {most.images:,} loose files) are nothing where these are "
        "in S3 already, and next to nothing in shards (`make shards`); the time of the upload is the network's. "
        "`make emr-plan` says it for your photographs, model and instances, from your last run's own rate.\n\n"
        f"| images | {heads} |\n|---|{'---|' * 2 * len(IMAGE_BYTES)}\n" + rows
    )


def _estimates(cluster: Cluster, images: int) -> list[cost.Estimate]:
    """By size, as loose files and in shards: all of them sent and read."""
    return [
        cost.estimate(cluster, cost.rate("lite0", size, runs=()), images=images, size_bytes=0, requests=requests)
        for size, image_bytes in IMAGE_BYTES.items()
        for requests in (
            Requests(puts=images, gets=images),
            s3_requests.in_shards(images, images * image_bytes),
        )
    ]
