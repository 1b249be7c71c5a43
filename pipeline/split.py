"""Which images train the classifier and which test it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from pipeline.names import unpacked

TEST_SHARE = 0.2
_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test"}


@dataclass
class Range:
    """Smallest and largest draw of a class."""

    low: float = 1.0
    high: float = 0.0

    def widen(self, draw: float) -> None:
        """Take in one more draw."""
        self.low, self.high = min(self.low, draw), max(self.high, draw)


@dataclass
class Splitter:
    """Gives every image its side, the same for the same set and seed, whatever the order of listing.

    The data set's own split is used when it has Training and Test folders, above those of the classes or above archives
    that name the classes themselves. Otherwise every fruit draws a number in [0, 1) from its name and the seed, and the
    lowest fifth tests: new images never move old ones across. Views of one fruit (`<fruit>_<view>.jpg`) draw together,
    so that no fruit is tested on that was trained on; where that would leave a class a single fruit, its images draw
    one by one. The lowest draw of a class always tests and its highest always trains, so that small classes have both.
    Images in archives are on the side that they would be on unpacked.

    Attributes:
        seed: of the draws.
        fruits: by class, the range of its fruits' draws.
        images: by class, the range of its images' draws.
        trainable: by class, the range of the draws of the fruits that no folder makes test.
        folders: which of the sides the data set names itself.
    """

    seed: int
    fruits: dict[str, Range] = field(default_factory=dict)
    images: dict[str, Range] = field(default_factory=dict)
    trainable: dict[str, Range] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def learn(self, path: str, label: str) -> None:
        """Take one listed image into account. Call it for all before the first `side`."""
        if named := _named(path, label):
            self.folders.add(named)
        draw = self._draw(_fruit(path))
        self.fruits.setdefault(label, Range()).widen(draw)
        if named != "test":
            self.trainable.setdefault(label, Range()).widen(draw)
        self.images.setdefault(label, Range()).widen(self._draw(unpacked(path)))

    def side(self, path: str, label: str) -> str:
        """`train` or `test`."""
        if self.folders == {"train", "test"} and (named := _named(path, label)):
            return named
        draws = self._draws(label)
        draw = self._draw(self._name(path, label))
        return "test" if draw < draws.high and (draw < TEST_SHARE or draw == draws.low) else "train"

    def sides(self, paths: Sequence[str], labels: Sequence[str]) -> list[str]:
        """The side of each path, in their order."""
        return [self.side(path, label) for path, label in zip(paths, labels, strict=True)]

    def lot(self, path: str, label: str) -> float:
        """A draw in [0, 1) for what is tried on a few of the training images; nan for a test image.

        All views of a fruit draw together, unless the class trains on one fruit. It is independent of the draw that
        made the image train, and as good as a name: no two fruits have the same.
        """
        if self.side(path, label) == "test":
            return math.nan
        return self._draw(f"lot:{_fruit(path) if self._has_fruits(label) else unpacked(path)}")

    def rule(self, label: str) -> str:
        """What side and lot of a class's images depend on besides their paths; empty for an unknown class."""
        if label not in self.images:
            return ""
        draws = self._draws(label)
        bounds = (max(draws.low, TEST_SHARE), min(draws.high, TEST_SHARE), draws.low < draws.high)
        own = self.folders == {"train", "test"}
        return repr((self.seed, own, self._has_fruits(label), self._is_grouped(label), *bounds))

    def _is_grouped(self, label: str) -> bool:
        """Whether the fruits of a class draw, not its images."""
        return self.fruits[label].low < self.fruits[label].high

    def _has_fruits(self, label: str) -> bool:
        """Whether a class may train on several fruits."""
        fruits = self.trainable.get(label, Range())
        return fruits.low < fruits.high

    def _draws(self, label: str) -> Range:
        return self.fruits[label] if self._is_grouped(label) else self.images[label]

    def _name(self, path: str, label: str) -> str:
        """By what an image draws."""
        return _fruit(path) if self._is_grouped(label) else unpacked(path)

    def _draw(self, name: str) -> float:
        digest = blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _named(path: str, label: str) -> str | None:
    """The side that a folder above the class folder names. The label of a member may be none of its folders'."""
    *folders, _ = unpacked(path).split("/")
    if folders and label in (folders[-1], unicodedata.normalize("NFC", folders[-1])):
        folders.pop()
    return next((_FOLDERS[folder] for folder in map(str.lower, folders) if folder in _FOLDERS), None)


def _fruit(path: str) -> str:
    """The path without the view number at its end: `Kiwi/3_2.jpg` -> `Kiwi/3`."""
    return re.sub(r"_\d+$", "", unpacked(path).rpartition(".")[0])
