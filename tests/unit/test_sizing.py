"""Workers, executors and YARN's arithmetic."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from base import sizing
from base.sizing import Executors, Host

ROOT = Path(__file__).parents[2]
# yarn.nodemanager.resource.memory-mb as EMR's page on task configuration prints it, by a node's memory in GiB.
PUBLISHED_MB = {8: 6144, 16: 12288, 32: 24576, 64: 57344, 128: 122880, 160: 155648, 256: 253952}
M5 = sizing.instance("m5.xlarge")
DESIGN = Executors(cores=4, heap_mb=4096, overhead_mb=6144, instances=2)


@pytest.mark.parametrize(("gib", "mb"), PUBLISHED_MB.items())
def test_yarns_memory_is_what_emr_publishes(gib, mb):
    assert sizing.yarn_mb(gib * 1024) == mb


def test_the_table_of_instance_types():
    assert set(sizing.INSTANCE_TYPES) >= sizing.PUBLISHED
    amounts = {name: (node.vcpu, node.memory_mb // 1024) for name, node in sizing.INSTANCE_TYPES.items()}
    assert amounts["m5.xlarge"] == (4, 16)
    assert amounts["m6g.4xlarge"] == (16, 64)
    assert amounts["c5.2xlarge"] == (8, 16)
    assert amounts["r5.xlarge"] == (4, 32)
    assert amounts["c7g.xlarge"] == amounts["c7a.xlarge"] == (4, 8)


@pytest.mark.parametrize(
    ("name", "cores"),
    [
        ("m5.xlarge", 0.5),
        ("m6i.4xlarge", 0.5),
        ("m6g.xlarge", 1),
        ("m7g.xlarge", 1),
        ("c7g.xlarge", 1),
        ("c7a.xlarge", 1),
    ],
)
def test_a_vcpu_is_a_core_or_a_thread(name, cores):
    assert sizing.cores_a_vcpu(name) == cores


def test_an_unknown_type_names_the_known_ones():
    with pytest.raises(sizing.SizingError, match=r"^INSTANCE_TYPE=t2\.micro is not known; choose one of m5\.xlarge, "):
        sizing.instance("t2.micro")


def test_a_big_host_gives_what_was_asked_and_says_no_more():
    host = Host(cpus=8, memory_mb=40 * 1024)
    given = sizing.worker(M5, host)
    assert given == M5
    assert sizing.words(M5, given, host) == "asked m5.xlarge: 4 vCPU, 16 GiB, YARN 12288 MB"


def test_a_small_host_gives_equal_shares_and_says_why():
    host = Host(cpus=2, memory_mb=23 * 1024)
    given = sizing.worker(M5, host)
    assert (given.vcpu, given.memory_mb, given.yarn_mb) == (1, 9728, 7296)
    assert sizing.words(M5, given, host) == (
        "asked m5.xlarge: 4 vCPU, 16 GiB, YARN 12288 MB -> given 1 vCPU, 9.5 GiB, YARN 7296 MB, "
        "because this host has 2 CPUs and 23 GiB"
    )


@pytest.mark.parametrize("cpus", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("gib", [10, 12, 16, 31, 64])
@pytest.mark.parametrize("name", sizing.INSTANCE_TYPES)
def test_whatever_the_host_workers_leave_room_for_the_rest_and_their_executors_fit(name, gib, cpus):
    host = Host(cpus=cpus, memory_mb=gib * 1024)
    asked = sizing.instance(name)
    given = sizing.worker(asked, host)
    assert given.vcpu <= max(1, host.cpus // 2)
    assert 2 * given.memory_mb + sizing.BESIDE_THE_WORKERS_MB <= host.memory_mb
    assert given.yarn_mb < given.memory_mb <= asked.memory_mb
    sizing.check(sizing.executors(vcpu=given.vcpu, yarn_mb=given.yarn_mb), given)


def test_a_host_that_is_too_small_says_how_much_it_takes():
    with pytest.raises(sizing.SizingError, match=r"^Docker has 7.7 GiB of memory, the lab needs 10 GiB; give it more"):
        sizing.worker(M5, Host(cpus=4, memory_mb=7884))


def test_a_derived_size_says_so():
    node = sizing.instance("m6g.xlarge")
    assert sizing.words(node, node, Host(cpus=8, memory_mb=65536)).endswith("YARN 12288 MB (derived)")


def test_two_m5_xlarge_get_the_shape_of_the_design():
    assert sizing.executors(vcpu=4, yarn_mb=12288) == DESIGN


@pytest.mark.parametrize("node", sizing.INSTANCE_TYPES.values(), ids=lambda node: node.name)
def test_the_executors_of_every_type_fit_it_and_use_its_cores(node):
    wanted = sizing.executors(vcpu=node.vcpu, yarn_mb=node.yarn_mb)
    sizing.check(wanted, node)
    assert wanted.cores * wanted.instances == 2 * node.vcpu


@pytest.mark.parametrize("vcpu", [1, 2, 3, 5, 6, 7, 9])
def test_odd_numbers_of_cores_make_executors_of_up_to_four(vcpu):
    wanted = sizing.executors(vcpu=vcpu, yarn_mb=65536)
    assert 1 <= wanted.cores <= 4
    assert wanted.cores * wanted.instances <= 2 * vcpu


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            replace(DESIGN, overhead_mb=12288),
            "spark.executor.memory 4096 MB + spark.executor.memoryOverhead 12288 MB = 16384 MB is above YARN's limit "
            "of 12288 MB a container on m5.xlarge; lower one of them by 4096 MB, or take a larger INSTANCE_TYPE",
        ),
        (
            replace(DESIGN, overhead_mb=7680),
            "spark.executor.instances 2: spark.executor.memory 4096 MB + spark.executor.memoryOverhead 7680 MB makes "
            "containers of 11776 MB, of which 2 nodes of m5.xlarge with 12288 MB hold 1 beside the application "
            "master's 896 MB; lower the memory or the instances",
        ),
        (replace(DESIGN, instances=3), "spark.executor.instances 3: "),
        (replace(DESIGN, heap_mb=256), "spark.executor.memory 256 MB: Spark needs 450 MB; raise it"),
        (replace(DESIGN, cores=8), "spark.executor.cores 8: m5.xlarge has 4 vCPU here; lower it"),
    ],
)
def test_what_yarn_would_refuse_is_refused_in_one_line(wanted, words):
    with pytest.raises(sizing.SizingError) as caught:
        sizing.check(wanted, M5)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_yarns_rounding_decides_at_the_edge():
    """11392 MB are left beside the application master; 11361 are rounded up to that, one more and 32 to above it."""
    fits = replace(DESIGN, heap_mb=4096, overhead_mb=11361 - 4096)
    sizing.check(fits, M5)
    with pytest.raises(sizing.SizingError, match="containers of 11424 MB"):
        sizing.check(replace(fits, overhead_mb=11393 - 4096), M5)


@pytest.mark.parametrize(
    ("text", "mb"),
    [("4g", 4096), ("9486M", 9486), ("10240", 10240), ("1t", 1048576), ("512mb", 512), ("2048k", 2), (" 6G ", 6144)],
)
def test_memory_as_spark_writes_it(text, mb):
    assert sizing.memory_mb(text) == mb


@pytest.mark.parametrize("text", ["", "g", "4.5g", "-1g", "4 g", "4x"])
def test_what_is_no_memory_size(text):
    with pytest.raises(sizing.SizingError, match="is no memory size; write 4g or 9486m"):
        sizing.memory_mb(text)


@pytest.mark.parametrize("mb", [512, 1024, 6144, 7488])
def test_memory_is_written_as_it_is_read(mb):
    assert sizing.memory_mb(sizing.memory_text(mb)) == mb


def test_a_node_asks_with_what_it_has(tmp_path):
    """As in an image: base/ and the standard library alone."""
    command = [sys.executable, "-S", "-m", "base.sizing"]
    shutil.copytree(ROOT / "base", tmp_path / "base", ignore=shutil.ignore_patterns("__pycache__"))
    given = sizing.worker(M5, sizing.this_host())
    done = subprocess.run([*command, "m5.xlarge"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == f"SPARK_WORKER_CORES={given.vcpu}\nSPARK_WORKER_MEMORY={given.yarn_mb}m\n"
    assert done.returncode == 0
    done = subprocess.run([*command, "moon.xlarge"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: INSTANCE_TYPE=moon.xlarge is not known")


@pytest.mark.parametrize(
    ("instance_type", "machine"),
    [("m5.xlarge", "x86_64"), ("m6i.2xlarge", "x86_64"), ("m6g.xlarge", "aarch64"), ("r5.4xlarge", "x86_64")],
)
def test_graviton_is_told_by_the_family(instance_type, machine):
    assert sizing.architecture(instance_type) == machine
