"""How big a worker is: what EMR gives an instance type, what this host can give, the executors that fit, YARN's check.

In a node of the lab `python3 -m base.sizing INSTANCE_TYPE` prints, for the host below it, the two lines that a worker
needs,

    SPARK_WORKER_CORES=1
    SPARK_WORKER_MEMORY=7488m

with the reason on stderr where that is less than was asked; exit code 2 and one line where it cannot be.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from base import command_line
from base.errors import UsageError

WORKERS = 2

# EMR's own defaults. https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-hadoop-task-config.html
YARN_MINIMUM_MB = 32  # yarn.scheduler.minimum-allocation-mb: containers are rounded up to a multiple of it
# The application master in client mode: spark.yarn.am.memory 512m and an overhead of at least 384.
# https://spark.apache.org/docs/latest/running-on-yarn.html
APPLICATION_MASTER_MB = 896
# org.apache.spark.memory.UnifiedMemoryManager starts no executor on less.
SMALLEST_HEAP_MB = 450

# GiB of memory a vCPU has in each family, and vCPUs of each size. https://aws.amazon.com/ec2/instance-types/
_FAMILIES = {"m5": 4, "m6i": 4, "m6g": 4, "m7g": 4, "c5": 2, "c7a": 2, "c7g": 2, "r5": 8}
# Those whose vCPUs are cores of their own; a vCPU of the others is one of a core's two threads.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-optimize-cpu.html
_WHOLE_CORES = frozenset({"m6g", "m7g", "c7a", "c7g"})
_SIZES = {"xlarge": 4, "2xlarge": 8, "4xlarge": 16}
# The type whose yarn.nodemanager.resource.memory-mb was read on EMR's page above; what `yarn_mb` makes of it is what
# stands there. For the others it is derived by the same rule.
PUBLISHED = frozenset({"m5.xlarge"})

# What the lab's other containers and the system below them need: MinIO 0.5 GiB, the master with the driver 2 GiB, the
# history server 0.5 GiB, the host 1 GiB. The workers share the rest.
BESIDE_THE_WORKERS_MB = 4096
# The smallest worker in which an executor has room beside the application master.
SMALLEST_WORKER_MB = 3072
SMALLEST_HOST_MB = BESIDE_THE_WORKERS_MB + WORKERS * SMALLEST_WORKER_MB

# An executor's memory by core. The JVM only schedules and shuffles; the interpreter and the model of each core live in
# the overhead.
_CORE_MB = 2560
# A worker takes no more tasks at once than have this much each; EMR's leanest type, c5, gives them 1.3 GiB.
_LEANEST_CORE_MB = 1024
_EXECUTOR_CORES = 4
_STEP_MB = 256


class SizingError(UsageError):
    """Something does not fit or is not known: one line with the numbers and the setting to change."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that Spark runs on: what it has, and what YARN gives of it.

    Attributes:
        name: instance type.
        vcpu: task slots.
        memory_mb: of the machine or the container, in MiB.
        yarn_mb: of that, what YARN or Spark's worker has to give to executors.
    """

    name: str
    vcpu: int
    memory_mb: int
    yarn_mb: int


@dataclass(frozen=True, kw_only=True)
class Host:
    """What Docker runs on: CPUs, and memory in MiB."""

    cpus: int
    memory_mb: int


@dataclass(frozen=True, kw_only=True)
class Executors:
    """The executors of one application.

    Attributes:
        cores: of one.
        heap_mb: spark.executor.memory.
        overhead_mb: spark.executor.memoryOverhead.
        instances: how many.
    """

    cores: int
    heap_mb: int
    overhead_mb: int
    instances: int


def yarn_mb(memory_mb: int) -> int:
    """What EMR leaves to YARN of a node's memory: all but a quarter, or but 8 GiB where a quarter is more."""
    left = memory_mb - min(memory_mb // 4, 8192)
    return left - left % YARN_MINIMUM_MB


INSTANCE_TYPES = {
    name: Node(name=name, vcpu=vcpu, memory_mb=vcpu * gib * 1024, yarn_mb=yarn_mb(vcpu * gib * 1024))
    for family, gib in _FAMILIES.items()
    for size, vcpu in _SIZES.items()
    for name in [f"{family}.{size}"]
}


def instance(name: str) -> Node:
    """The node that EMR gives for the instance type `name`.

    Raises:
        SizingError: it is not in the table.
    """
    if name not in INSTANCE_TYPES:
        raise SizingError(f"INSTANCE_TYPE={name} is not known; choose one of {', '.join(INSTANCE_TYPES)}")
    return INSTANCE_TYPES[name]


def cores_a_vcpu(name: str) -> float:
    """How much of a processor's core a vCPU of the instance type is: 1, or a half where two share one."""
    return 1.0 if name.partition(".")[0] in _WHOLE_CORES else 0.5


def architecture(name: str) -> str:
    """The processor of an instance type: Graviton's families have a g behind their number."""
    return "aarch64" if re.match(r"[a-z]+[0-9]+g", name) else "x86_64"


def this_host() -> Host:
    """The Linux machine that this process sees, in a container too."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Host(cpus=os.cpu_count() or 1, memory_mb=pages // 1024**2)


def worker(asked: Node, host: Host, *, workers: int = WORKERS) -> Node:
    """What each of the `workers` gets on `host`: what was asked, or an equal share of what there is.

    The lab's other containers and the host keep 4 GiB. CPUs are shared with them: they work while the workers wait.

    Raises:
        SizingError: the share is too small for an executor.
    """
    share_mb = (host.memory_mb - BESIDE_THE_WORKERS_MB) // workers
    memory_mb = min(asked.memory_mb, share_mb - share_mb % _STEP_MB)
    if memory_mb < SMALLEST_WORKER_MB:
        needed = BESIDE_THE_WORKERS_MB + workers * SMALLEST_WORKER_MB
        raise SizingError(
            f"Docker has {_gib(host.memory_mb)} of memory, the lab needs {_gib(needed)}; give it more, "
            "in Docker Desktop under Settings > Resources"
        )
    left_mb = yarn_mb(memory_mb)
    vcpu = min(asked.vcpu, max(1, host.cpus // workers), (left_mb - APPLICATION_MASTER_MB) // _LEANEST_CORE_MB)
    return Node(name=asked.name, vcpu=vcpu, memory_mb=memory_mb, yarn_mb=left_mb)


def words(asked: Node, given: Node, host: Host) -> str:
    """`asked m5.xlarge: 4 vCPU, 16 GiB, YARN 12288 MB -> given …, because …`, or the first half where that is given."""
    text = f"asked {asked.name}: {_amounts(asked)}" + ("" if asked.name in PUBLISHED else " (derived)")
    if given == asked:
        return text
    return f"{text} -> given {_amounts(given)}, because this host has {host.cpus} CPUs and {_gib(host.memory_mb)}"


def executors(*, vcpu: int, yarn_mb: int, workers: int = WORKERS) -> Executors:
    """The executors for `workers` nodes with `vcpu` and `yarn_mb` MiB each, on YARN and in the lab alike.

    Up to four cores in one; 2.5 GiB for each core, or an equal share of what the application master leaves where that
    is less; two fifths of it heap. Two nodes of m5.xlarge get 2 executors of 4 cores, 4 GiB and 6 GiB.
    """
    a_node = -(-vcpu // _EXECUTOR_CORES)
    cores = vcpu // a_node
    memory_mb = min(cores * _CORE_MB, (yarn_mb - APPLICATION_MASTER_MB) // a_node)
    heap_mb, overhead_mb = memory_mb * 2 // 5, memory_mb * 3 // 5
    return Executors(
        cores=cores,
        heap_mb=heap_mb - heap_mb % _STEP_MB,
        overhead_mb=overhead_mb - overhead_mb % _STEP_MB,
        instances=a_node * workers,
    )


def check(wanted: Executors, node: Node, *, workers: int = WORKERS) -> None:
    """Refuse what would not run on `workers` of these nodes, by YARN's arithmetic.

    YARN books memory alone: heap and overhead, rounded up to 32 MB, beside the application master's 896 MB on one of
    the nodes. What is too big for a node is refused by spark-submit ("Required executor memory … is above the max
    threshold"); executors too many wait for ever. A core more than the node has would wait so in the lab.

    Raises:
        SizingError: it does not fit.
    """
    asked_mb = wanted.heap_mb + wanted.overhead_mb
    container_mb = -(-asked_mb // YARN_MINIMUM_MB) * YARN_MINIMUM_MB
    sizes = f"spark.executor.memory {wanted.heap_mb} MB + spark.executor.memoryOverhead {wanted.overhead_mb} MB"
    if wanted.heap_mb < SMALLEST_HEAP_MB:
        raise SizingError(f"spark.executor.memory {wanted.heap_mb} MB: Spark needs {SMALLEST_HEAP_MB} MB; raise it")
    if wanted.cores > node.vcpu:
        raise SizingError(f"spark.executor.cores {wanted.cores}: {node.name} has {node.vcpu} vCPU here; lower it")
    if asked_mb > node.yarn_mb:
        raise SizingError(
            f"{sizes} = {asked_mb} MB is above YARN's limit of {node.yarn_mb} MB a container on {node.name}; "
            f"lower one of them by {asked_mb - node.yarn_mb} MB, or take a larger INSTANCE_TYPE"
        )
    beside = (node.yarn_mb - APPLICATION_MASTER_MB) // container_mb
    room = beside + (workers - 1) * (node.yarn_mb // container_mb)
    if wanted.instances > room:
        raise SizingError(
            f"spark.executor.instances {wanted.instances}: {sizes} makes containers of {container_mb} MB, of which "
            f"{workers} nodes of {node.name} with {node.yarn_mb} MB hold {room} beside the application master's "
            f"{APPLICATION_MASTER_MB} MB; lower the memory or the instances"
        )


_UNITS_KB = {"k": 1, "kb": 1, "m": 1024, "mb": 1024, "": 1024, "g": 1024**2, "gb": 1024**2, "t": 1024**3, "tb": 1024**3}


def memory_mb(text: str) -> int:
    """MiB of a memory size as Spark writes it: `4g`, `9486M`, `10240` (MiB).

    Raises:
        SizingError: it is not one.
    """
    found = re.fullmatch(r"([0-9]+)([a-z]*)", text.strip().lower())
    if not found or found[2] not in _UNITS_KB:
        raise SizingError(f"{text!r} is no memory size; write 4g or 9486m")
    return int(found[1]) * _UNITS_KB[found[2]] // 1024


def memory_text(size_mb: int) -> str:
    """The size as Spark and Docker take it: `4g`, `9486m`."""
    return f"{size_mb // 1024}g" if size_mb % 1024 == 0 else f"{size_mb}m"


def main(argv: Sequence[str]) -> int:
    """Print a worker's variables for this host; exit code 0, or 2 where it cannot be."""
    parser = command_line.Parser(prog="python3 -m base.sizing", description="What a worker gets on this host.")
    parser.add_argument("instance_type", help="like m5.xlarge")
    try:
        asked = instance(parser.parse_args(argv).instance_type)
        host = this_host()
        given = worker(asked, host)
    except UsageError as error:
        return command_line.fail(error)
    if given != asked:
        sys.stderr.write(f"{words(asked, given, host)}\n")
    sys.stdout.write(f"SPARK_WORKER_CORES={given.vcpu}\nSPARK_WORKER_MEMORY={given.yarn_mb}m\n")
    return 0


def _amounts(node: Node) -> str:
    return f"{node.vcpu} vCPU, {_gib(node.memory_mb)}, YARN {node.yarn_mb} MB"


def _gib(size_mb: int) -> str:
    return f"{size_mb / 1024:.1f}".removesuffix(".0") + " GiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
