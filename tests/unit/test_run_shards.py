"""The whole job on tar archives of images, on local Spark: what it comes to on the same images as files."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import main as job
from tests import archives, contract, pictures

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture
def run(small_model, tmp_path):
    """Run the job on a folder of the test's into another; returns the exit code."""

    def call(photos: str, name: str, *more: str) -> int:
        args = ["--input", str(tmp_path / photos), "--output", str(tmp_path / name), "--model", str(small_model)]
        return job.main([*args, *more])

    return call


@pytest.fixture
def photos(tmp_path) -> Path:
    pictures.write_set(tmp_path / "photos", classes=3, views=40)
    return tmp_path / "photos"


def pack(photos: Path, packed: Path) -> None:
    """An archive for the first two classes in one folder, one for the third in another, whose name is its class."""
    (packed / "Class 2").mkdir(parents=True)
    (packed / "Class 2/b.TAR").write_bytes(archives.of_folder(photos / "Class 2"))
    two = packed / "two"
    for name in ("Class 0", "Class 1"):
        shutil.copytree(photos / name, two / name)
    (packed / "a.tar").write_bytes(archives.of_folder(two))
    shutil.rmtree(two)


def inside(table: pd.DataFrame, column: str) -> dict[str, object]:
    """A column by the path that an image has unpacked."""
    return dict(zip(table["path"].str.replace(r"(a\.tar|b\.TAR)!", "", regex=True), table[column], strict=True))


def test_archives_give_what_the_files_in_them_give(run, photos, tmp_path, capsys):
    pack(photos, tmp_path / "packed")
    assert run("photos", "files") == run("packed", "archives") == 0
    files, packed = (contract.check(str(tmp_path / name), listed=120) for name in ("files", "archives"))
    assert inside(packed.features, "label") == inside(files.features, "label")
    assert inside(packed.reduced, "split") == inside(files.reduced, "split")
    assert inside(packed.predictions, "prediction") == inside(files.predictions, "prediction")
    vectors = [inside(tables.features, "features") for tables in (packed, files)]
    for path, vector in vectors[0].items():
        np.testing.assert_array_equal(vector, vectors[1][path])
    report = [(tmp_path / name / "report.html").read_text().count("data:image/jpeg") for name in ("files", "archives")]
    assert report[0] == report[1] > 0
    capsys.readouterr()
    assert run("packed", "archives") == 0
    assert "nothing new" in "".join(capsys.readouterr())


def test_an_archive_that_is_replaced_is_read_anew_and_the_others_are_known(run, photos, tmp_path):
    pack(photos, tmp_path / "packed")
    shutil.copytree(photos / "Class 0", tmp_path / "packed" / "Class 0")  # files beside archives
    assert run("packed", "out") == 0
    contract.check(str(tmp_path / "out"), listed=160)
    (photos / "Class 2/0_0.jpg").unlink()
    (tmp_path / "packed/Class 2/b.TAR").write_bytes(archives.of_folder(photos / "Class 2"))
    assert run("packed", "out") == 0
    counts = contract.check(str(tmp_path / "out"), listed=159).run["counts"]
    assert (counts["extracted"], counts["known"]) == (39, 120)


def test_what_is_wrong_in_an_archive_costs_itself_alone(run, photos, tmp_path):
    pack(photos, tmp_path / "packed")
    data, packed = pictures.encode(pictures.pixels(1)), tmp_path / "packed"
    odd = {
        "../../etc/a.jpg": {}, "/etc/b.jpg": {}, "link.jpg": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        "Kiwi/inner.tar": {}, "Kiwi/once.jpg": {}, "Kiwi/._once.jpg": {}, "Kiwi/README.txt": {},
        "Kiwi/\x1b[31m.jpg": {},
    }  # fmt: skip
    content = b"".join(archives.member(name, b"" if "type" in about else data, **about) for name, about in odd.items())
    content += archives.member("Kiwi/once.jpg", data) + archives.member("Kiwi/empty.jpg")
    content += archives.member("Kiwi/broken.jpg", b"no image") + archives.member("Kiwi/cut.jpg", data)[:-700]
    (packed / "odd.tar").write_bytes(content)
    (packed / "gone.tar.gz").write_bytes(b"\x1f\x8b" + data)
    (packed / "no.tar").write_bytes(data * 9)
    (packed / "none.tar").write_bytes(b"")
    (packed / "x.tar!").mkdir()
    (packed / "x.tar!" / "y.jpg").write_bytes(data)
    assert run("packed", "out", "--max-rejected", "50") == 0
    tables = contract.check(str(tmp_path / "out"), listed=120 + 14, rejected=11)
    errors = dict(zip(tables.rejected["path"], tables.rejected["error"], strict=True))
    duplicate = next(path for path in errors if path.startswith("odd.tar!Kiwi/once.jpg@"))
    assert errors == {
        "odd.tar!../../etc/a.jpg": "BadName", "odd.tar!/etc/b.jpg": "BadName", "odd.tar!link.jpg": "Link",
        "odd.tar!Kiwi/inner.tar": "Nested", duplicate: "Duplicate", "odd.tar!Kiwi/empty.jpg": "Empty",
        "odd.tar!Kiwi/broken.jpg": "UnidentifiedImageError", "odd.tar!Kiwi/cut.jpg": "Truncated",
        "gone.tar.gz": "Compressed", "no.tar": "NotAnArchive", "none.tar": "Empty",
    }  # fmt: skip
    assert {"odd.tar!Kiwi/once.jpg", "odd.tar!Kiwi/\\x1b[31m.jpg", "x.tar\\x21/y.jpg"} < set(tables.features["path"])
    assert tables.run["counts"]["skipped"] == 2


def test_compressed_archives_alone_are_refused_with_the_fix(run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.tar.gz").write_bytes(b"\x1f\x8b")
    assert run("photos", "out") == 2
    assert "unpack it to a plain .tar" in capsys.readouterr().err


def test_classes_beside_the_images_are_theirs(run, photos, tmp_path):
    content = b""
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        content += archives.member(f"{number:06}.jpg", path.read_bytes())
        content += archives.member(f"{number:06}.cls", path.parent.name.encode()) + archives.member(f"{number:06}.json")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/00000.tar").write_bytes(content + archives.END)
    assert run("packed", "out") == 0
    tables = contract.check(str(tmp_path / "out"), listed=120)
    assert tables.labels == ["Class 0", "Class 1", "Class 2"]
    assert tables.run["counts"]["skipped"] == 120
