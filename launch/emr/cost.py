"""What a run costs: an estimate from measured rates and dated prices before it, the instances' hours after it."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from base import sizing
from base.errors import UsageError
from base.paths import ROOT
from launch.emr.request import ROOT_GB, VOLUME_GB, Cluster, executors
from launch.emr.s3_requests import Requests

PRICES = Path(__file__).parent / "prices.toml"
BENCH = ROOT / "bench" / "results.json"
HOURS_A_MONTH = 730
WORTH_USD = 0.05  # of requests, that shards save: what is less is not spoken of
# Of each node in a public subnet, as those of a default network are, in every region. https://aws.amazon.com/vpc/pricing/
IPV4_USD_HOUR = 0.005
FREE = "nothing, the EMR lab is free"

# Rules of the estimate. The first three are assumptions that only a run on Amazon can better.
START_S = 480  # from the request to the first step: machines, bootstrap action, applications
END_S = 60  # from the last step until the machines are gone
CLUSTER_SHARE = 0.85  # of the rate of as many local cores, with photographs in S3 and executors on two nodes
UPLINK_MBIT_S = 20  # of this machine; what is sent is sent before a machine is billed
FIXED_S = 90  # Spark's start, the listing, the report
AFTER_SHARE = 0.25  # of the extraction's time, for scaler, PCA and classifier
# Multiply-adds of one image at 224 pixels, in 10^9, from the papers: what is not measured is scaled by them. A model of
# one's own is taken for the heaviest. int8 counts as float32 until a run has measured it: not every m5 has VNNI.
GIGA_MACS = {"lite0": 0.41, "lite0-int8": 0.41, "efficientnetb0": 0.39, "vgg16": 15.5}
MEASURED_IMAGES = 1000  # a run of fewer measures how Spark starts


class CostError(UsageError):
    """The estimate cannot be made or is over the limit: one line with the fix. Exit code 2."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Images that one core extracts in a second, with this model at this size; where that was measured."""

    images_s: float
    model: str
    image_size: int
    source: str
    on_cluster: bool = False


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        images: how many are extracted; 0 of a job that is no image pipeline.
        images_s: by the cluster, in a second.
        minutes: from the request until the machines are gone.
        hour_usd: of the whole cluster.
        usd: of the run, S3's requests included.
        send_usd: of these, those that bring photographs which S3 has not got yet.
        read_usd: of these, those that the nodes read photographs by.
        sharded_usd: what both would be, were the photographs in shards; None where they are, or lie in S3.
        upload_minutes: until these are sent, before the request.
        storage_usd: a month, for as long as the photographs stay in the bucket.
        nodes: like 3 x m5.xlarge.
        basis: what it rests on, a line each.
    """

    images: int
    images_s: float
    minutes: float
    hour_usd: float
    usd: float
    send_usd: float
    read_usd: float
    sharded_usd: float | None
    upload_minutes: float
    storage_usd: float
    nodes: str
    basis: tuple[str, ...]

    @property
    def requests_usd(self) -> float:
        """What all of S3's requests cost."""
        return self.send_usd + self.read_usd

    def as_json(self) -> dict[str, Any]:
        """The estimate as the run's record has it."""
        return asdict(self)


def prices(region: str, path: Path = PRICES) -> dict[str, Any]:
    """The table of a region, with `date` and `source` of the file.

    Raises:
        CostError: there is none.
    """
    document = tomllib.loads(path.read_text())
    regions = [name for name, value in document.items() if isinstance(value, dict)]
    if region not in regions:
        raise CostError(
            f"REGION={region} has no prices in {path.name}; choose {', '.join(regions)}, "
            f"or add it: make emr-prices REGION={region}"
        )
    return {**document[region], "date": document["date"], "source": document["source"]}


def rate(model: str, image_size: int, *, runs: Iterable[Path], bench: Path = BENCH) -> Rate:
    """What is known of this model's speed on one core: the last run that measured it, else the benchmark, scaled.

    Args:
        model: name, or a .keras file.
        image_size: in pixels.
        runs: run.json of former runs; those of this machine's own Spark and of Amazon's clusters measure, the lab's,
            whose containers share this machine's cores, do not.
        bench: the benchmark's figures.

    Raises:
        CostError: nothing was ever measured.
    """
    name = Path(model).stem
    rates = sorted((rate for path in runs if (rate := _of_run(path))), key=lambda each: each.source, reverse=True)
    for measured in rates:
        if (measured.model, measured.image_size) == (name, image_size):
            return measured
    measured = _of_bench(bench)
    macs = GIGA_MACS.get(name, max(GIGA_MACS.values()))
    pixels = (measured.image_size / image_size) ** 2
    scaled = measured.images_s * pixels * GIGA_MACS[measured.model] / macs
    how = "" if (name, image_size) == (measured.model, measured.image_size) else ", scaled by pixels and multiply-adds"
    return Rate(images_s=scaled, model=name, image_size=image_size, source=measured.source + how)


def estimate(
    cluster: Cluster,
    measured: Rate,
    *,
    images: int,
    size_bytes: int,
    requests: Requests,
    in_shards: Requests | None = None,
    upload_bytes: int = 0,
    running: bool = False,
) -> Estimate:
    """What the run takes on `cluster`.

    Args:
        cluster: what is wanted.
        measured: rate of one core.
        images: to be extracted.
        size_bytes: of all photographs.
        requests: of S3, that send the photographs and read them.
        in_shards: what these would be, were the photographs in shards; None: no less.
        upload_bytes: to be sent.
        running: the cluster is there already.

    Raises:
        CostError: the region has no prices.
        SizingError: the instance type is not known.
    """
    shape = executors(cluster, {})
    slots = shape.instances * shape.cores
    share, core = 1.0 if measured.on_cluster else CLUSTER_SHARE, sizing.cores_a_vcpu(cluster.instance_type)
    images_s = measured.images_s * core * slots * share
    rate_words = f"{slots} vCPU x {measured.images_s:.3g} images/s a core ({measured.source}) x {share:g}" + (
        ", a vCPU being a core" if core == 1 else ", halved: two vCPUs are the threads of one core"
    )
    found = _estimate(
        cluster,
        rate_words,
        work_s=FIXED_S + images / images_s * (1 + AFTER_SHARE),
        size_bytes=size_bytes,
        requests=requests,
        upload_bytes=upload_bytes,
        running=running,
    )
    sharded_usd = None if in_shards is None else sum(_requests_usd(in_shards, prices(cluster.region)))
    return replace(found, images=images, images_s=images_s, sharded_usd=sharded_usd)


def estimate_minutes(
    cluster: Cluster, minutes: float, *, size_bytes: int, requests: Requests, upload_bytes: int, running: bool
) -> Estimate:
    """What a job takes that is said to need so many minutes; the rest is as of `estimate`.

    Raises:
        CostError: the region has no prices.
    """
    return _estimate(
        cluster,
        f"{minutes:g} minutes of work, as --minutes has it",
        work_s=minutes * 60,
        size_bytes=size_bytes,
        requests=requests,
        upload_bytes=upload_bytes,
        running=running,
    )


def _estimate(
    cluster: Cluster,
    basis: str,
    *,
    work_s: float,
    size_bytes: int,
    requests: Requests,
    upload_bytes: int,
    running: bool,
) -> Estimate:
    table = prices(cluster.region)
    hours = (work_s if running else START_S + work_s + END_S) / 3600
    an_hour = hour_usd(cluster)
    send_usd, read_usd = _requests_usd(requests, table)
    unconfirmed = table["unconfirmed"]
    return Estimate(
        images=0,
        images_s=0.0,
        minutes=hours * 60,
        hour_usd=an_hour,
        usd=hours * an_hour + send_usd + read_usd,
        send_usd=send_usd,
        read_usd=read_usd,
        sharded_usd=None,
        upload_minutes=upload_bytes * 8 / 1e6 / UPLINK_MBIT_S / 60,
        storage_usd=size_bytes / 1e9 * table["s3_gb_month"],
        nodes=f"{1 + cluster.workers} x {cluster.instance_type}",
        basis=(
            basis,
            "the cluster runs already"
            if running
            else f"{START_S // 60} minutes until the first step, {END_S // 60} to end: assumed",
            f"prices of {cluster.region} from {table['date']}"
            + (f"; not confirmed: {', '.join(unconfirmed)}" if unconfirmed else "")
            + ("; spot is cheaper" if cluster.spot else ""),
        ),
    )


def hour_usd(cluster: Cluster) -> float:
    """An hour of the whole cluster at list prices, on demand, with disks and public addresses.

    Raises:
        CostError: the region or the instance type has no prices.
    """
    table = prices(cluster.region)
    if cluster.instance_type not in table:
        raise CostError(f"INSTANCE_TYPE={cluster.instance_type} has no price; run: make emr-prices")
    of_type = table[cluster.instance_type]
    volumes = (ROOT_GB + VOLUME_GB) * table["volume_gb_month"] / HOURS_A_MONTH
    return float((1 + cluster.workers) * (of_type["ec2"] + of_type["emr"] + volumes + IPV4_USD_HOUR))


def check(estimate: Estimate, *, max_usd: float) -> None:
    """Refuse what costs more than `max_usd`.

    Raises:
        CostError: it does.
    """
    if estimate.usd > max_usd:
        less = "take fewer photographs" if estimate.images else "give the job fewer minutes"
        raise CostError(
            f"the run would cost ${estimate.usd:.2f} (S3's requests {_requests(estimate)}), over MAX_USD={max_usd:g}; "
            f"raise it if that is meant, or {less}"
        )


def paid_s(agreed: Estimate, *, max_usd: float) -> float:
    """How long the cluster may be there for `max_usd`."""
    return (max_usd - agreed.requests_usd) / agreed.hour_usd * 3600


def step_s(agreed: Estimate, *, max_usd: float, running: bool) -> int:
    """How long the step may run for `max_usd`, in seconds: what the assumed start and end of the cluster leave.

    It counts on the node, from the step's start, so that nothing here is needed; a start that takes longer than was
    assumed is paid on top. It is never less than the estimate's own work, which `check` holds against `max_usd`.
    """
    around_s = 0 if running else START_S + END_S
    return max(60, math.floor(paid_s(agreed, max_usd=max_usd) - around_s))


def actual_usd(cluster: Cluster, instances: Iterable[dict[str, Any]], *, now: datetime) -> float:
    """What the instances' hours come to at list prices, by the second and a minute at least.

    Args:
        cluster: for the prices.
        instances: as ListInstances gives them.
        now: end of those that still run.
    """
    a_node = hour_usd(cluster) / (1 + cluster.workers)
    seconds = 0.0
    for instance in instances:
        line = instance["Status"].get("Timeline", {})
        if "CreationDateTime" in line:
            seconds += max(60.0, (line.get("EndDateTime", now) - line["CreationDateTime"]).total_seconds())
    return seconds / 3600 * a_node


def words(estimate: Estimate, *, in_emr_lab: bool) -> str:
    """The estimate as a user reads it; of the EMR lab it says that nothing of it is billed."""
    an_hour = f"{estimate.nodes} at ${estimate.hour_usd:.2f} an hour"
    what = f"${estimate.usd:.2f}: {estimate.minutes:.0f} minutes of {an_hour}"
    head = f"estimate    {FREE}; on AWS the same run would cost {what}" if in_emr_lab else f"estimate    {what}"
    return f"{head}\n{details(estimate, in_emr_lab=in_emr_lab)}"


def details(estimate: Estimate, *, in_emr_lab: bool) -> str:
    """What the estimate is made of beside the machines, and what it rests on, a line each."""
    lines, on_aws = list[str](), " on AWS" * in_emr_lab
    if estimate.images:
        lines.append(f"images      {estimate.images:,}, about {estimate.images_s:,.0f} a second")
    if estimate.requests_usd >= 0.005:
        lines.append(f"requests    of it S3's: {_requests(estimate)}{on_aws}")
    if estimate.sharded_usd is not None and estimate.requests_usd - estimate.sharded_usd >= WORTH_USD:
        sharded_usd = math.ceil(estimate.sharded_usd * 100) / 100
        lines.append(
            f"shards      ${sharded_usd:.2f} in place of ${estimate.requests_usd:.2f}{on_aws}, were they in shards: "
            "make shards"
        )
    if estimate.upload_minutes >= 1 and not in_emr_lab:
        lines.append(
            f"sending     {estimate.upload_minutes:,.0f} minutes at {UPLINK_MBIT_S} Mbit/s: assumed, and not billed"
        )
    what_lies = "photographs" if estimate.images else "inputs"
    if estimate.storage_usd >= 0.005:
        lines.append(f"storage     ${estimate.storage_usd:.2f} a month{on_aws} while the {what_lies} are in the bucket")
    heads = ["based on", *[""] * len(estimate.basis)]
    return "\n".join(lines + [f"{head:<12}{line}" for head, line in zip(heads, estimate.basis, strict=False)]) + "\n"


def words_after(usd: float, *, minutes: float, in_emr_lab: bool) -> str:
    """What a run came to, as a user reads it."""
    if in_emr_lab:
        return f"cost        {FREE}; on AWS these {minutes:.0f} minutes would cost ${usd:.2f} at list prices\n"
    return f"cost        ${usd:.2f} at list prices in {minutes:.0f} minutes; the bill comes from Amazon\n"


def _requests_usd(requests: Requests, table: Mapping[str, Any]) -> tuple[float, float]:
    """The cost of the requests that write, and of those that read."""
    return requests.puts / 1000 * table["s3_put_1000"], requests.gets / 1000 * table["s3_get_1000"]


def _requests(estimate: Estimate) -> str:
    sent = f"${estimate.send_usd:.2f} once" if estimate.send_usd else "none"
    what = "photographs" if estimate.images else "inputs"
    return f"{sent} to send the {what}, ${estimate.read_usd:.2f} to read them"


def _of_run(path: Path) -> Rate | None:
    """What a finished run measured; None where it is none, or too small, or in the lab."""
    try:
        run = json.loads(path.read_text())
        name = re.fullmatch(r"(.+)-([0-9]+)-[0-9a-f]{12}\.tflite", run["model"]["name"])
        extracted, seconds, slots = run["counts"]["extracted"], run["seconds"]["extract"], run["cluster"]["slots"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not name or extracted < MEASURED_IMAGES:
        return None
    master = str(run["cluster"]["master"])
    where = None if master.startswith("local") else _billed_type(path)
    if where is None and not master.startswith("local"):
        return None
    return Rate(
        images_s=extracted / seconds / slots * (1 / sizing.cores_a_vcpu(where) if where else 1),
        model=name[1],
        image_size=int(name[2]),
        source=f"run of {run['started'][:16]} on {where or master}",
        on_cluster=where is not None,
    )


def _billed_type(path: Path) -> str | None:
    """The instance type of the run on Amazon whose record lies beside run.json; None where it was in the EMR lab."""
    try:
        record = json.loads(path.with_name("emr.json").read_text())
        kind = str(record["nodes"]).rpartition(" ")[2]
        return kind if record["billed"] is True and kind in sizing.INSTANCE_TYPES else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_bench(path: Path) -> Rate:
    """The extraction's figure of the benchmark."""
    try:
        figures = json.loads(path.read_text())
        return Rate(
            images_s=figures["extract_images_s"] / figures["cores"],
            model=figures["model"],
            image_size=figures["image_size"],
            source=f"make bench of {figures['date']} on {figures['processor']}",
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CostError(f"{path.name} has no rate of the extraction; measure it with make bench") from error
