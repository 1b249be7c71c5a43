"""The configuration files of a node: the templates of hadoop/, this node's sizes, the cluster's Configurations.

Later ones win, as on EMR: https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-configure-apps.html
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from base import spark_conf
from base.sizing import Node
from emr_lab.protocol.classifications import SITES, Properties

TEMPLATES = Path(__file__).parent / "hadoop"
# What EMR leaves free beside an executor of its default size: m5.xlarge has 12288 MB for YARN, its executor 9486 MB and
# 0.1875 of that as overhead, which makes a container of 11264.
_FREE_MB = 1024
_OVERHEAD_FACTOR = 0.1875
_SMALLEST_OVERHEAD_MB = 384
_DRIVER_MB = 2048
# Hadoop's default: the share of the memory that application masters may take.
_MASTER_SHARE = 0.1


def write(
    properties: Mapping[str, Properties],
    *,
    on_emr: Node,
    node: Node,
    alone: bool,
    s3a: Path,
    environment: Mapping[str, str],
    folder: Path,
) -> None:
    """Write `hadoop/` and `spark/` below `folder`.

    Args:
        properties: the cluster's Configurations by classification.
        on_emr: a core node as EMR has it.
        node: a core node as it is on this host.
        alone: it is its cluster's only node.
        s3a: launch/s3a.conf.
        environment: AWS_ENDPOINT_URL_S3 and AWS_REGION of the S3 server.
        folder: of the configuration.

    Raises:
        OSError: a file cannot be written.
    """
    defaults = _settings(s3a) | s3_server(environment)
    # S3A's own list of places ends with the metadata service, where a node's key is.
    del defaults["spark.hadoop.fs.s3a.aws.credentials.provider"]
    # Application masters do not shrink with the nodes: as many run at once as on nodes of the size asked for.
    master_share = _MASTER_SHARE * on_emr.yarn_mb / node.yarn_mb
    computed = {
        "core-site": {
            key.removeprefix("spark.hadoop."): value
            for key, value in defaults.items()
            if key.startswith("spark.hadoop.")
        },
        "yarn-site": {
            "yarn.nodemanager.resource.memory-mb": str(node.yarn_mb),
            "yarn.nodemanager.resource.cpu-vcores": str(node.vcpu),
            "yarn.scheduler.maximum-allocation-mb": str(node.yarn_mb),
        },
        "capacity-scheduler": {"yarn.scheduler.capacity.maximum-am-resource-percent": f"{master_share:.3f}"},
    }
    hadoop, spark = folder / "hadoop", folder / "spark"
    for part in (hadoop, spark):
        part.mkdir(parents=True, exist_ok=True)
    for name in SITES:
        tree = _site(TEMPLATES / f"{name}.xml") | computed.get(name, {}) | properties[name]
        (hadoop / f"{name}.xml").write_bytes(_xml(tree))
    for name in ("hadoop-policy.xml", "log4j.properties"):
        (hadoop / name).write_bytes((TEMPLATES / name).read_bytes())
    exclude({}, folder=folder)
    emrs = _settings(TEMPLATES / "spark-defaults.conf") | executor(node, alone=alone)
    settings = defaults | emrs | properties["spark-defaults"]
    (spark / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in properties["spark-env"].items())
    (spark / "spark-env.sh").write_text((TEMPLATES / "spark-env.sh").read_text() + exports)


def exclude(timeouts_s: Mapping[str, int], *, folder: Path) -> None:
    """Write which nodes YARN and HDFS are to do without, where yarn-site.xml and hdfs-site.xml say it is.

    Args:
        timeouts_s: by the nodes' names, how long YARN leaves to what runs there.
        folder: of the configuration.

    Raises:
        OSError: a file cannot be written.
    """
    hosts = ElementTree.Element("hosts")
    for name, timeout_s in timeouts_s.items():
        host = ElementTree.SubElement(hosts, "host")
        ElementTree.SubElement(host, "name").text = name
        ElementTree.SubElement(host, "timeout").text = str(timeout_s)
    (folder / "hadoop" / "yarn-exclude.xml").write_bytes(ElementTree.tostring(hosts, xml_declaration=True))
    (folder / "hadoop" / "hdfs-exclude").write_text("".join(f"{name}\n" for name in timeouts_s))


def executor(node: Node, *, alone: bool) -> Properties:
    """Return what EMR sets for a node of this size: an executor that takes a node but for 1 GiB, and all its cores.

    Where it is `alone`, of which EMR's documents say nothing, it leaves room for a driver of cluster mode, if that
    takes no more than half of it: there is no other node for the executor, and the job would wait for ever.
    """
    driver_mb = _DRIVER_MB + _SMALLEST_OVERHEAD_MB
    beside_mb = driver_mb if alone and 2 * driver_mb <= node.yarn_mb else _FREE_MB
    container_mb = node.yarn_mb - beside_mb
    heap_mb = min(math.ceil(container_mb / (1 + _OVERHEAD_FACTOR)), container_mb - _SMALLEST_OVERHEAD_MB)
    return {
        "spark.executor.memory": f"{heap_mb}M",
        "spark.executor.cores": str(node.vcpu),
        "spark.driver.memory": f"{_DRIVER_MB}M",
    }


def s3_server(environment: Mapping[str, str]) -> Properties:
    """Where S3 is, and where parts of an upload wait for data."""
    server = spark_conf.s3a_server(address=environment["AWS_ENDPOINT_URL_S3"], region=environment["AWS_REGION"])
    return {setting.key: setting.value for setting in server} | {"spark.hadoop.fs.s3a.buffer.dir": "/mnt/s3"}


def _settings(file: Path) -> Properties:
    return {setting.key: setting.value for setting in spark_conf.read(file)}


def _site(file: Path) -> Properties:
    """Read a file in the form of core-site.xml."""
    entries = ElementTree.parse(file).getroot().iter("property")  # noqa: S314 - our own files
    return {entry.findtext("name", ""): entry.findtext("value", "").strip() for entry in entries}


def _xml(tree: Properties) -> bytes:
    root = ElementTree.Element("configuration")
    for name, value in tree.items():
        entry = ElementTree.SubElement(root, "property")
        ElementTree.SubElement(entry, "name").text = name
        ElementTree.SubElement(entry, "value").text = value
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content
