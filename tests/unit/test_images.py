import os
import unicodedata
from pathlib import Path

from pipeline import images
from pipeline.images import ListingSummary
from pipeline.loading import DecodedImage, Rejected, load
from tests import pictures


def load_all(folder: Path) -> dict[str, DecodedImage | Rejected]:
    listed = list(images.list_images(str(folder), ListingSummary()))
    return {outcome.image.path: outcome for outcome in load(listed, str(folder), size=32)}


def test_listing_labels_skips_and_counts(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    for name in ("deep/er/Kiwi/0.jpg", "Kiwi/1.JPEG", "Lemon/a.png", "top.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for name in ("Kiwi/Thumbs.db", "Lemon/Thumbs.db", "Kiwi/.DS_Store", "README.txt", "Kiwi/._1.jpg"):
        (tmp_path / name).write_bytes(b"x")
    summary = ListingSummary()
    listed = {image.path: image for image in images.list_images(str(tmp_path), summary)}
    assert {path: image.label for path, image in listed.items()} == {
        "deep/er/Kiwi/0.jpg": "Kiwi", "Kiwi/1.JPEG": "Kiwi", "Lemon/a.png": "Lemon", "top.jpg": tmp_path.name,
    }  # fmt: skip
    assert summary.labels == {"Kiwi": 2, "Lemon": 1, tmp_path.name: 1}
    assert summary.skipped_total == 5
    assert summary.skipped == {"Thumbs.db": 2, ".DS_Store": 1, "README.txt": 1, "._1.jpg": 1}


def test_the_fingerprint_follows_content_not_order(tmp_path):
    pictures.write_set(tmp_path)
    first, second, third = ListingSummary(), ListingSummary(), ListingSummary()
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
    assert all(isinstance(outcome, DecodedImage) for outcome in outcomes.values())


def test_names_that_are_no_text_are_read_under_names_that_are(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    names = {
        "tab\there.jpg": "tab\\x09here.jpg",
        "tab\\x09here.jpg": "tab\\x5cx09here.jpg",
        "line\nend.jpg": "line\\x0aend.jpg",
        "escape\x1b[31m.jpg": "escape\\x1b[31m.jpg",
        "latin\udce9.jpg": "latin\\xe9.jpg",
    }
    (tmp_path / "Kiwi\udcff").mkdir()
    for name in names:
        (tmp_path / "Kiwi\udcff" / name).write_bytes(data)
    outcomes = load_all(tmp_path)
    assert set(outcomes) == {f"Kiwi\\xff/{name}" for name in names.values()}
    assert all(isinstance(outcome, DecodedImage) for outcome in outcomes.values())
    assert {outcome.image.label for outcome in outcomes.values()} == {"Kiwi\\xff"}


def test_what_cannot_be_read_is_listed_with_its_cause_and_nothing_waits_for_it(tmp_path, unprivileged):
    kiwi = tmp_path / "set" / "Kiwi"
    (kiwi / "closed").mkdir(parents=True)
    good, other = tmp_path / "set" / "Lime", tmp_path / "elsewhere"
    for place in (kiwi, good, other, kiwi / "closed"):
        place.mkdir(exist_ok=True)
        (place / "0.jpg").write_bytes(pictures.encode(pictures.pixels(1)))
    os.mkfifo(kiwi / "pipe.jpg")  # reading it would wait for ever
    (kiwi / "nothing.jpg").symlink_to("gone.jpg")
    (kiwi / "self.jpg").symlink_to("self.jpg")
    (kiwi / "device.jpg").symlink_to("/dev/zero")
    (kiwi / "ring").symlink_to(tmp_path / "set")
    (kiwi / "to lime").symlink_to(good)
    (good / "to kiwi").symlink_to(kiwi)  # neither lies in the other: a ring of two
    (kiwi / "linked").symlink_to(other)
    (kiwi / "empty.jpg").touch()
    (kiwi / "closed").chmod(0)
    summary = ListingSummary()
    with unprivileged(tmp_path / "set"):
        listed = {image.path: image for image in images.list_images(str(tmp_path / "set"), summary)}
    assert {path: image.error for path, image in listed.items()} == {
        "Kiwi/0.jpg": None,
        "Lime/0.jpg": None,
        "Kiwi/linked/0.jpg": None,
        "Kiwi/to lime/0.jpg": None,
        "Lime/to kiwi/0.jpg": None,
        "Lime/to kiwi/linked/0.jpg": None,
        "Kiwi/pipe.jpg": "NotAFile",
        "Kiwi/nothing.jpg": "BrokenLink",
        "Kiwi/self.jpg": "BrokenLink",
        "Kiwi/device.jpg": "NotAFile",
        "Kiwi/ring/": "LinkLoop",
        "Kiwi/to lime/to kiwi/": "LinkLoop",
        "Kiwi/empty.jpg": "Empty",
        "Kiwi/closed/": "PermissionError",
        **{f"Lime/to kiwi/{name}": error for name, error in {
            "pipe.jpg": "NotAFile", "nothing.jpg": "BrokenLink", "self.jpg": "BrokenLink", "device.jpg": "NotAFile",
            "ring/": "LinkLoop", "to lime/": "LinkLoop", "empty.jpg": "Empty", "closed/": "PermissionError",
        }.items()},
    }  # fmt: skip
    assert summary.listed == len(listed)
    assert summary.labels == {"Kiwi": 1, "Lime": 1, "linked": 2, "to lime": 1, "to kiwi": 1}
    rejected = [
        outcome for outcome in load(listed.values(), str(tmp_path / "set"), size=32) if isinstance(outcome, Rejected)
    ]
    assert len(rejected) == 16
    assert all(outcome.stage == "list" and outcome.message for outcome in rejected)


def test_one_class_written_in_two_ways_is_one_class(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    for form in ("NFC", "NFD"):
        folder = tmp_path / form / unicodedata.normalize(form, "Pêche")
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(data)
    summary = ListingSummary()
    paths = {image.path for image in images.list_images(str(tmp_path), summary)}
    label = unicodedata.normalize("NFC", "Pêche")
    assert summary.labels == {label: 2}
    assert summary.notes() == [f"{label}: one class, of folders whose names Unicode writes in 2 ways (NFC, NFD)"]
    assert paths == {f"{form}/{unicodedata.normalize(form, 'Pêche')}/0.jpg" for form in ("NFC", "NFD")}


def test_a_change_that_keeps_size_and_time_of_writing_is_seen(tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"one")
    os.utime(tmp_path / "0.jpg", ns=(1, 1))
    (before,) = images.list_images(str(tmp_path), ListingSummary())
    with (tmp_path / "0.jpg").open("r+b") as file:
        file.write(b"two")
    os.utime(tmp_path / "0.jpg", ns=(1, 1))
    (after,) = images.list_images(str(tmp_path), ListingSummary())
    assert before.etag != after.etag
