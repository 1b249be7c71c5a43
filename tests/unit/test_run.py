"""The whole job on local Spark, on images made here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import PCA, PCAModel, StandardScaler, StandardScalerModel
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import functions as F  # noqa: N812
from sklearn.metrics import f1_score, log_loss

from pipeline import accounting, features, lease, publication, results
from pipeline import main as job
from pipeline.accounting import Rejection, Rejections
from pipeline.settings import RunError, UsageError, from_args
from tests import contract, pictures
from tests.unit.conftest import SECRET

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture
def run(small_model, tmp_path):
    """Run the job on `photos` into `name`, both in the test's folder; returns the exit code."""

    def call(*more: str, name: str = "out", photos: str = "photos") -> int:
        args = ["--input", str(tmp_path / photos), "--output", str(tmp_path / name), "--model", str(small_model)]
        return job.main([*args, *more])

    return call


@pytest.fixture
def photos(tmp_path):
    pictures.write_set(tmp_path / "photos", classes=3, views=12)
    return tmp_path / "photos"


def test_a_set_with_every_kind_of_good_and_bad_file(run, photos, tmp_path, capsys):
    for name, data in pictures.good().items():
        (photos / "Class 0" / name).write_bytes(data)
    good, bad = len(pictures.good()), len(pictures.bad())
    assert run(name="clean") == 0
    clean = contract.check(str(tmp_path / "clean"), listed=36 + good)
    for name, data in pictures.bad().items():
        (photos / "Class 1" / name).write_bytes(data)
    (photos / "Class 1" / "Thumbs.db").write_bytes(b"x")
    assert run("--max-rejected", str(bad)) == 0
    tables = contract.check(str(tmp_path / "out"), listed=36 + good + bad, rejected=bad)
    assert set(tables.rejected["path"]) == {f"Class 1/{name}" for name in pictures.bad()}
    np.testing.assert_array_equal(np.stack(tables.features["features"]), np.stack(clean.features["features"]))
    assert tables.run["counts"]["skipped"] == 1
    out = capsys.readouterr().out
    assert f"{bad}; skipped as no images: 1 Thumbs.db" in out
    assert out.splitlines()[-1].endswith("out/report.html")


def test_no_name_ends_a_run(run, photos, tmp_path):
    data = pictures.encode(pictures.pixels(1))
    for name in ("tab\there.jpg", "escape\x1b[31m.jpg", "latin\udce9.jpg", "=1+1.jpg"):
        (photos / "Class 0" / name).write_bytes(data)
    os.mkfifo(photos / "Class 1" / "pipe.jpg")
    (photos / "Class 1" / "ring").symlink_to(photos)
    (photos / "Class 1" / "nothing.jpg").symlink_to("gone.jpg")
    for form in ("NFC", "NFD"):
        folder = photos / form / unicodedata.normalize(form, "Pêche")
        folder.mkdir(parents=True)
        (folder / "0_0.jpg").write_bytes(data)
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=36 + 4 + 3 + 2, rejected=3)
    odd = {"tab\\x09here.jpg", "escape\\x1b[31m.jpg", "latin\\xe9.jpg", "=1+1.jpg"}
    assert {f"Class 0/{name}" for name in odd} <= set(tables.features["path"])
    assert dict(zip(tables.rejected["path"], tables.rejected["error"], strict=True)) == {
        "Class 1/pipe.jpg": "NotAFile",
        "Class 1/ring/": "LinkLoop",
        "Class 1/nothing.jpg": "BrokenLink",
    }
    label = unicodedata.normalize("NFC", "Pêche")
    assert tables.labels == ["Class 0", "Class 1", "Class 2", label]
    note = f"{label}: one class, of folders whose names Unicode writes in 2 ways (NFC, NFD)"
    assert note in tables.run["notes"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert note in page
    assert "(redacted)" in page
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_file() and SECRET in path.read_text()]


def test_the_saved_models_are_sparks_own_and_give_the_reduced_images(run, photos, tmp_path, spark):
    assert run("--components", "5") == 0
    tables = contract.check(str(tmp_path / "out"), listed=36)
    rows = spark.read.parquet(f"{tmp_path}/out/features").withColumn("features", array_to_vector(F.col("features")))
    scaler = StandardScalerModel.load(f"{tmp_path}/out/model/scaler")
    pca = PCAModel.load(f"{tmp_path}/out/model/pca")
    applied = (
        pca.transform(scaler.transform(rows))
        .select("path", vector_to_array(F.col("pca")).alias("pca"))
        .toArrow()
        .to_pandas()
    )
    applied = np.stack(applied.sort_values("path")["pca"])
    np.testing.assert_allclose(applied, np.stack(tables.reduced["pca"]), atol=1e-5)

    own_scaler = StandardScaler(withMean=True, inputCol="features", outputCol="scaled").fit(rows)
    np.testing.assert_allclose(scaler.mean.toArray(), own_scaler.mean.toArray(), atol=1e-6)
    np.testing.assert_allclose(scaler.std.toArray(), own_scaler.std.toArray(), atol=1e-6)
    own_pca = PCA(k=5, inputCol="scaled", outputCol="pca").fit(own_scaler.transform(rows))
    ours, theirs = pca.pc.toArray(), own_pca.pc.toArray()
    np.testing.assert_allclose(ours, theirs * np.sign((ours * theirs).sum(axis=0)), atol=1e-6)
    np.testing.assert_allclose(pca.explainedVariance.toArray(), own_pca.explainedVariance.toArray(), atol=1e-6)
    np.testing.assert_allclose(tables.variance["vector"][:5], own_pca.explainedVariance.toArray(), atol=1e-6)


@pytest.mark.parametrize("kind", ["lda", "logistic"])
def test_the_saved_classifier_is_sparks_own_and_gives_the_predictions(run, photos, tmp_path, spark, kind):
    for side in ("Training", "Test"):
        shutil.copytree(photos, tmp_path / "own" / side)
    shutil.rmtree(tmp_path / "own" / "Training" / "Class 1")  # a class to be tested on alone: nobody can know it
    assert run("--classifier", kind, "--components", "5", photos="own") == 0
    tables = contract.check(str(tmp_path / "out"), listed=60)
    assert tables.metrics["classifier"]["kind"] == kind
    assert set(tables.predictions["prediction"]) == {"Class 0", "Class 2"}
    assert tables.metrics["notes"] == ["Class 1: 0 training and 12 test images"]

    scaler = StandardScalerModel.load(f"{tmp_path}/out/model/scaler")
    pca = PCAModel.load(f"{tmp_path}/out/model/pca")
    classifier = LogisticRegressionModel.load(f"{tmp_path}/out/model/classifier")
    rows = spark.read.parquet(f"{tmp_path}/out/reduced").withColumn("pca", array_to_vector(F.col("pca")))
    chances = F.col("probability")
    columns = [F.col("path"), F.col("prediction"), vector_to_array(chances).alias("probability")]
    theirs = classifier.transform(rows).select(*columns).toArrow().to_pandas().sort_values("path", ignore_index=True)
    assert [tables.labels[int(number)] for number in theirs["prediction"]] == list(tables.predictions["prediction"])
    probabilities = np.stack(theirs["probability"])
    np.testing.assert_allclose(probabilities.max(axis=1), tables.predictions["probability"], atol=1e-6)

    tested = (tables.predictions["split"] == "test").to_numpy()
    true = tables.features["label_index"].to_numpy()[tested]
    wanted = log_loss(true, np.maximum(probabilities[tested], np.finfo(float).eps), labels=range(3))
    assert tables.metrics["log_loss"] == pytest.approx(wanted, rel=1e-3)

    features = spark.read.parquet(f"{tmp_path}/out/features").withColumn("features", array_to_vector(F.col("features")))
    chained = classifier.transform(pca.transform(scaler.transform(features)))
    chained = chained.select(*columns).toArrow().to_pandas().sort_values("path", ignore_index=True)
    np.testing.assert_allclose(np.stack(chained["probability"]), probabilities, atol=1e-4)


def test_the_metrics_are_scikit_learns(run, photos, tmp_path):
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=36)
    tested = tables.predictions[tables.predictions["split"] == "test"]
    assert 0 < len(tested) < 36
    assert tables.metrics["macro_f1"] == pytest.approx(f1_score(tested["label"], tested["prediction"], average="macro"))


def test_nothing_new_does_nothing(run, photos, tmp_path, capsys):
    assert run() == 0
    first = contract.check(str(tmp_path / "out"), listed=36).run
    capsys.readouterr()
    assert run() == 0
    assert "36: 0 extracted, 36 already known" in capsys.readouterr().out
    assert contract.check(str(tmp_path / "out"), listed=36).run == first
    (tmp_path / "out" / "reduced" / results.parquet_files(f"{tmp_path}/out/reduced")[0]).unlink()
    assert run() == 0
    again = contract.check(str(tmp_path / "out"), listed=36).run
    assert again["run"] != first["run"]
    assert again["counts"]["extracted"] == 0


def test_other_settings_use_the_features_again(run, photos, tmp_path):
    assert run() == 0
    assert run("--components", "2") == 0
    tables = contract.check(str(tmp_path / "out"), listed=36)
    assert tables.variance["k"] == 2
    assert tables.run["counts"]["extracted"] == 0


def test_only_what_is_new_or_changed_is_extracted_and_what_is_gone_leaves_no_trace(run, photos, tmp_path):
    assert run() == 0
    (photos / "Class 0" / "0_0.jpg").unlink()
    (photos / "Class 1" / "0_0.jpg").write_bytes(pictures.encode(pictures.pixels(500)))
    (photos / "Another").mkdir()  # sorts before the others: every label_index moves
    for view in range(4):
        (photos / "Another" / f"{view}_0.jpg").write_bytes(pictures.encode(pictures.pixels(600 + view, hue=1)))
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=39)
    assert tables.run["counts"]["extracted"] == 5
    assert run(name="fresh") == 0
    contract.assert_same(tables, contract.check(str(tmp_path / "fresh"), listed=39))


def test_a_run_killed_in_the_extraction_is_simply_run_again(run, photos, small_model, tmp_path, spark):
    pictures.write_set(photos, classes=3, views=200)
    root = str(job.__file__).removesuffix("/pipeline/main.py")
    args = ["--input", str(photos), "--output", str(tmp_path / "out"), "--model", str(small_model)]
    script = (
        "import sys; from pyspark.sql import SparkSession; SparkSession.builder.master('local[1]').getOrCreate(); "
        "from pipeline.main import main; main(sys.argv[1:])"
    )
    environment = {**os.environ, "PYTHONPATH": root, "PYSPARK_PYTHON": sys.executable}
    killed = subprocess.Popen(
        [sys.executable, "-c", script, *args], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    prepared = f"{tmp_path}/out/{results.INCOMPLETE}/features"
    deadline = time.monotonic() + 120
    while len(results.parquet_files(prepared)) < 3 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    saved = len(results.parquet_files(prepared))
    assert saved >= 3
    assert not (tmp_path / "out" / "run.json").exists()
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=600)
    assert 0 < tables.run["counts"]["known"] < 600
    assert run(name="fresh") == 0
    contract.assert_same(tables, contract.check(str(tmp_path / "fresh"), listed=600))


def test_a_renamed_input_of_images_without_folders_has_its_new_name_as_class(run, photos, tmp_path):
    (photos / "Class 0").rename(tmp_path / "Pear")
    assert run(photos="Pear") == 0
    (tmp_path / "Pear").rename(tmp_path / "Kiwi")
    assert run(photos="Kiwi") == 0
    tables = contract.check(str(tmp_path / "out"), listed=12)
    assert tables.run["counts"]["extracted"] == 0
    assert set(tables.features["label"]) == set(tables.reduced["label"]) == {"Kiwi"}


def test_only_files_that_runs_recorded_or_prepared_for_this_key_give_features(run, photos, tmp_path):
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=36)
    (name,) = results.parquet_files(f"{tmp_path}/out/features")[:1]
    (photos / "Class 0" / "0_0.jpg").write_bytes(pictures.encode(pictures.pixels(500)))
    prepared = tmp_path / "out" / results.INCOMPLETE / "features"
    prepared.mkdir(parents=True)
    key, _, part = name.partition("-")
    shutil.copy(tmp_path / "out" / "features" / name, prepared / f"{'0' * 16}-{part}")
    assert run() == 0
    again = contract.check(str(tmp_path / "out"), listed=36)
    assert again.run["counts"]["extracted"] == 1
    assert all(part.startswith(key) for part in results.parquet_files(f"{tmp_path}/out/features"))
    np.testing.assert_array_equal(
        np.stack(again.features["features"])[1:], np.stack(tables.features["features"])[1:], "but of the changed image"
    )


def test_a_second_run_to_the_same_output_is_refused_in_one_line(run, photos, tmp_path, capsys):
    with lease.hold(str(tmp_path / "out"), "11111111"):
        assert run() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --output {tmp_path}/out belongs to run 11111111 of ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / "_incomplete").exists()


def test_a_worker_with_other_software_than_the_drivers_is_said(run, photos, capsys, monkeypatch):
    monkeypatch.setattr(features, "software", lambda: "pillow 0.1")
    assert run() == 1
    assert re.search(r"error: .*a worker has .*, the driver pillow 0\.1; install the same", capsys.readouterr().err)


def test_too_many_rejected_fail_the_run_and_keep_the_good(run, photos, tmp_path, capsys):
    for number in range(12):
        (photos / "Class 2" / f"bad{number}.jpg").write_bytes(b"no")
    assert run() == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 12 of 48 images are rejected, over the limit of 10 (--max-rejected)")
    assert not (tmp_path / "out" / "run.json").exists()
    assert run("--max-rejected", "25%") == 0
    tables = contract.check(str(tmp_path / "out"), listed=48, rejected=12)
    assert tables.run["counts"]["known"] == 36
    assert run("--max-rejected", "3") == 1, "a stricter limit holds for results that stand, too"


def test_a_failed_run_leaves_the_last_complete_one_readable(run, photos, tmp_path):
    assert run() == 0
    for number in range(12):
        (photos / "Class 2" / f"bad{number}.jpg").write_bytes(b"no")
    assert run() == 1
    standing = publication.examine(str(tmp_path / "out"))
    assert standing.run is not None
    assert standing.run["counts"]["listed"] == 36
    assert standing.is_intact()


def test_nothing_but_rejected_images_is_said(run, tmp_path, capsys):
    (tmp_path / "photos" / "Kiwi").mkdir(parents=True)
    (tmp_path / "photos" / "Kiwi" / "0.jpg").write_bytes(b"no")
    assert run() == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: --input {tmp_path}/photos: none of 1 images gives features, first Kiwi/0.jpg: ")
    where = error.rpartition("all stand in ")[2]
    assert where.startswith(f"{tmp_path}/out/{results.INCOMPLETE}/")
    assert results.parquet_files(where)


@pytest.mark.parametrize(("unreachable", "kind"), [(0, UsageError), (1, RunError)])
def test_images_that_could_not_be_fetched_are_no_mistake_of_the_user(tmp_path, unreachable, kind):
    settings = from_args(["--input", str(tmp_path), "--output", "s3://b/out", "--model", "m.tflite"])
    first = Rejection(path="Kiwi/0.jpg", size=1, stage="fetch", error="E", message="no answer")
    counts = {"listed": 2, "rejected": 2, "unreachable": unreachable}
    with pytest.raises(kind, match=r"none of 2 images gives features, first Kiwi/0\.jpg: no answer"):
        accounting.check_rejected(
            settings, counts=counts, rejections=Rejections(2, unreachable, [first]), rejected="there"
        )


def test_one_class_only_is_said(run, tmp_path, capsys):
    pictures.write_set(tmp_path / "photos", classes=1)
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=8)
    assert tables.metrics["accuracy"] is None
    assert "no classifier: it needs training images of two classes" in capsys.readouterr().out


def test_a_class_with_one_image_trains_and_is_said(run, photos, tmp_path):
    shutil.rmtree(photos / "Class 2")
    (photos / "Rare").mkdir()
    (photos / "Rare" / "0.jpg").write_bytes(pictures.encode(pictures.pixels(7, hue=2)))
    assert run() == 0
    tables = contract.check(str(tmp_path / "out"), listed=25)
    assert tables.metrics["notes"] == ["Rare: 1 training and 0 test images"]


def test_a_sets_own_split_is_used(run, photos, tmp_path):
    for side in ("Training", "Test"):
        shutil.copytree(photos, tmp_path / "own" / side)
    assert run(photos="own") == 0
    tables = contract.check(str(tmp_path / "out"), listed=72)
    assert all(
        (split == "test") == path.startswith("Test/")
        for path, split in zip(tables.reduced["path"], tables.reduced["split"], strict=True)
    )


def test_folders_whose_own_names_are_no_utf8(run, photos, tmp_path, capsys):
    photos.rename(tmp_path / "Fr\udcfcchte")
    for extracted in (36, 0):
        assert run(photos="Fr\udcfcchte", name="S\udce4fte") == 0
        said = capsys.readouterr().out
        assert f"36: {extracted} extracted" in said
        assert said.endswith(r"S\xe4fte/report.html" + "\n")


def lay(path):
    path.parent.mkdir(parents=True)
    path.write_text("precious")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "photos"), "no such folder"),
        (
            lambda folder: [path.unlink() for path in (folder / "photos").rglob("*.jpg")],
            "holds no file; it wants class folders of .jpg,",
        ),
        (lambda folder: (folder / "out").write_text("a file"), "--output"),
        (lambda folder: (folder / "out").symlink_to("out"), "--output"),
        (lambda folder: lay(folder / "out" / "model" / "weights.bin"), "out holds model/weights.bin, which no run"),
        (lambda folder: lay(folder / "out" / "run.json"), "out holds run.json, damaged, or no run's record"),
        (lambda folder: (folder / "out").mkdir() or (folder / "out" / "model").symlink_to(folder), "a symbolic link"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_two(run, photos, tmp_path, capsys, change, words):
    change(tmp_path)
    assert run() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --")
    assert words in error
    assert len(error.splitlines()) == 1


def test_too_many_components_are_refused_before_the_work(run, photos, capsys):
    assert run("--components", "25") == 2
    assert "--components 25: 36 images of 24 features have at most 24" in capsys.readouterr().err


def test_a_model_that_is_none_is_refused(photos, tmp_path, capsys):
    (tmp_path / "m.tflite").write_bytes(b"no model")
    args = ["--input", str(photos), "--output", str(tmp_path / "out"), "--model"]
    for name in ("m.tflite", "gone.tflite"):
        assert job.main([*args, str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: --model {tmp_path / name}")
        assert len(error.splitlines()) == 1
