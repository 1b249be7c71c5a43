"""bench/int8.md: what int8 costs in accuracy, what it brings in speed, and where that comes from."""

from __future__ import annotations

from typing import Any

from bench import machine

FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"}  # an instruction for products of 8-bit integers


def render(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    on = document["machine"]
    has = sorted(FLAGS.intersection(on["vector_flags"]))
    accuracy = "".join(
        f"| {row['name']}, {row['images']:,} of {row['size']} x {row['size']} | {row['classes']} "
        f"| {row['test_images']} | {row['float32_accuracy']:.3f} | {row['int8_accuracy']:.3f} | {row['agreement']:.3f} "
        f"| {row['cosine_mean']:.3f} | {row['cosine_min']:.3f} |\n"
        for row in document["sets"]
    )
    speed = "".join(
        f"| {row['size']} x {row['size']} | {row['decode_ms']:.2f} | {row['float32_ms']:.2f} | {row['int8_ms']:.2f} "
        f"| {row['float32_ms'] / row['int8_ms']:.2f} | {_with_decoding(row):.2f} |\n"
        for row in document["speed"]
    )
    layers = "".join(
        f"| {row['size']} x {row['size']} | {name} | {kind['layers']:.0f} | {kind['float32_ms']:.2f} "
        f"| {kind['int8_ms']:.2f} | {kind['float32_ms'] / kind['int8_ms']:.2f} |\n"
        for row in document["speed"]
        for name, kind in row["layers"].items()
    )
    return (
        "# int8 beside float32\n\n"
        f"Measured by `make bench-int8` on {on['date']}: {machine.words(on)}; instructions for products of 8-bit "
        f"integers: {', '.join(has) or 'none'}. EfficientNet-Lite0. All of it is in [int8.json](int8.json), too.\n\n"
        "## The price\n\n"
        "Two runs of the job on each set, all else the same. Accuracy is that of the job's classifier on its test "
        "images; agreement the share of all images to which both runs give the same class; cosine that of an image's "
        "two feature vectors.\n\n"
        "| set | classes | test images | float32 accuracy | int8 accuracy | agreement | cosine, mean | smallest |\n"
        "|---|---|---|---|---|---|---|---|\n" + accuracy + "\n## What it brings\n\n"
        "Milliseconds an image on one thread, medians of rounds in turns.\n\n"
        "| pixels | decoding | float32 model | int8 model | ratio of the model | with decoding |\n"
        "|---|---|---|---|---|---|\n" + speed + "\n## Where it comes from\n\n"
        "Every convolution alone, summed by its kind:\n\n"
        "| pixels | kind | layers | float32 ms | int8 ms | ratio |\n|---|---|---|---|---|---|\n"
        + layers
        + "\n"
        + REASONS
    )


def _with_decoding(row: dict[str, float]) -> float:
    return (row["decode_ms"] + row["float32_ms"]) / (row["decode_ms"] + row["int8_ms"])


REASONS = """LiteRT computes both by XNNPACK, which chooses its kernels by the processor. The installed library holds,
by its disassembly, products of 8-bit integers by VNNI (`vpdpbusd`) and by AMX (`tdpbssd`) for matrix products, which
pointwise convolutions are. For depthwise ones it widens each integer to 32 bits (`vpmulld`): no more of them fit into a
register than of float32's numbers, and the widening comes on top. So int8 gains where pointwise convolutions take the
time and where the processor has one of the first two; the faster those are, the more of what is left is depthwise,
which bounds the gain.

The same model is therefore so many times as fast on one machine and otherwise on another, for three reasons: the
instructions; what stands beside the model and stays as it is, decoding and Spark's start, whose share is the larger the
faster the machine and the fewer the images, so that a whole run's ratio is always below the model's; and how fast
float32 is on that machine, by AVX-512 or by AVX2.

## Whether it should be the default

No. Its features are others than float32's, so that those kept of earlier runs are not used, and what is trained on them
does not transfer; and on a processor without such instructions it brings little. A default that depended on the
processor would give one input two results, and not every m5 has VNNI. Where the table above shows an accuracy that is
good enough for you, choose it: `MODEL=lite0-int8`.
"""
