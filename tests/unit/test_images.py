from pathlib import Path

from pipeline import images
from pipeline.images import Census
from pipeline.loading import Loaded, Rejected, load
from tests import pictures


def load_all(folder: Path) -> dict[str, Loaded | Rejected]:
    listed = list(images.list_images(str(folder), Census()))
    return {outcome.image.path: outcome for outcome in load(listed, str(folder), size=32)}


def test_listing_labels_skips_and_counts(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    for name in ("deep/er/Kiwi/0.jpg", "Kiwi/1.JPEG", "Lemon/a.png", "top.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for name in ("Kiwi/Thumbs.db", "Lemon/Thumbs.db", "Kiwi/.DS_Store", "README.txt", "Kiwi/._1.jpg"):
        (tmp_path / name).write_bytes(b"x")
    census = Census()
    listed = {image.path: image for image in images.list_images(str(tmp_path), census)}
    assert {path: image.label for path, image in listed.items()} == {
        "deep/er/Kiwi/0.jpg": "Kiwi", "Kiwi/1.JPEG": "Kiwi", "Lemon/a.png": "Lemon", "top.jpg": tmp_path.name,
    }  # fmt: skip
    assert census.labels == {"Kiwi": 2, "Lemon": 1, tmp_path.name: 1}
    assert census.skipped_total == 5
    assert census.skipped == {"Thumbs.db": 2, ".DS_Store": 1, "README.txt": 1, "._1.jpg": 1}


def test_the_fingerprint_follows_content_not_order(tmp_path):
    pictures.write_set(tmp_path)
    first, second, third = Census(), Census(), Census()
    listed = list(images.list_images(str(tmp_path), first))
    for image in reversed(listed):
        second.count(image)
    assert first.fingerprint == second.fingerprint
    (tmp_path / "Class 0/0_0.jpg").write_bytes(pictures.encode(pictures.pixels(9)))
    list(images.list_images(str(tmp_path), third))
    assert third.fingerprint != first.fingerprint


ODD = (
    "a b.jpg",
    "é ü.jpg",
    "a+b.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "c#d.jpg",
    "q?.jpg",
    "\U0001f34b.jpg",
    "[x]*.jpg",
    "back\\slash.jpg",
)


def test_odd_names_are_listed_and_read(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    (tmp_path / "Kiwi & co").mkdir()
    for name in ODD:
        (tmp_path / "Kiwi & co" / name).write_bytes(data)
    outcomes = load_all(tmp_path)
    assert set(outcomes) == {f"Kiwi & co/{name}" for name in ODD}
    assert all(isinstance(outcome, Loaded) for outcome in outcomes.values())
