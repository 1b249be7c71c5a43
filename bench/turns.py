"""What is measured in turns: medians of ratios, and which way would take too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median


def images_s(images: int, seconds: Sequence[float]) -> float:
    """The rate of the median round."""
    return images / median(seconds)


def ratio(ours_s: Sequence[float], theirs_s: Sequence[float]) -> float:
    """How many times as fast ours is: the median over the rounds, each of which had both."""
    return median(theirs / ours for ours, theirs in zip(ours_s, theirs_s, strict=True))


def projected_s(measured_s: Mapping[int, float], images: int) -> float | None:
    """What `images` would take, from the seconds that other numbers of images took; None where there are none.

    A run is a start and so much for every image: the two largest measured numbers give both. One alone counts as all
    images: what is projected from it is too long for a larger number, as it repeats the start.
    """
    sizes = sorted(measured_s)[-2:]
    if not sizes:
        return None
    if len(sizes) == 1:
        return measured_s[sizes[0]] / sizes[0] * images
    few, many = sizes
    an_image_s = max(0.0, (measured_s[many] - measured_s[few]) / (many - few))
    return measured_s[many] + an_image_s * (images - many)
