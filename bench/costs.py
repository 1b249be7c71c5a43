"""What a run on Amazon EMR will take and cost, from the rate that `make bench` has just written."""

from __future__ import annotations

from launch.emr import cost
from launch.emr.request import Cluster

IMAGES = (1_000, 10_000, 100_000, 1_000_000)
SIZES = (100, 224)


def table(region: str = "eu-west-3") -> str:
    """Minutes and dollars of the default cluster, as Markdown; nothing is asked of AWS.

    Raises:
        CostError: bench/results.json has no rate, or the region no prices.
    """
    cluster = Cluster(bucket="", region=region, release="")
    rates = [cost.rate("lite0", size, runs=()) for size in SIZES]
    found = {
        images: [cost.estimate(cluster, rate, images=images, size_bytes=0, uploads=images) for rate in rates]
        for images in IMAGES
    }
    nodes, most = found[IMAGES[0]][0].nodes, found[IMAGES[-1]][0]
    rows = "".join(
        f"| {images:,} | {' | '.join(f'{each.minutes:,.0f} min, ${each.usd:,.2f}' for each in estimates)} |\n"
        for images, estimates in found.items()
    )
    return (
        "\n## What it will take and cost on Amazon EMR\n\n"
        f"Estimated, not measured: {nodes} in {region}, whose vCPUs count half a core of the rate above, x "
        f"{cost.CLUSTER_SHARE:g} on a cluster; {cost.START_S // 60} minutes until it is there; S3's requests, of which "
        f"those of the upload alone (${most.send_usd:.2f} for {most.images:,} photographs) are nothing where these are "
        "in S3 already; the time of the upload is the network's. "
        "`make emr-plan` says it for your photographs, model and instances, from your last run's own rate.\n\n"
        f"| images | {' | '.join(f'{size} pixels' for size in SIZES)} |\n|---|{'---|' * len(SIZES)}\n" + rows
    )
