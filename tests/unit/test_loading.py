import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from pipeline import images, loading
from pipeline.images import ImageRef, ListingSummary
from pipeline.loading import Rejected
from tests import bombs, pictures


def test_loading_keeps_the_order_and_rejects_one_by_one(tmp_path):
    for number in range(60):
        (tmp_path / f"{number:02}.jpg").write_bytes(pictures.encode(pictures.pixels(number)) if number % 7 else b"no")
    listed = sorted(images.list_images(str(tmp_path), ListingSummary()), key=lambda image: image.path)
    outcomes = list(loading.load(listed, str(tmp_path), size=16))
    assert [outcome.image for outcome in outcomes] == listed
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [number % 7 == 0 for number in range(60)]


def test_a_key_that_vanished_is_rejected_with_its_stage(tmp_path):
    gone = ImageRef("Kiwi/gone.jpg", 10, "etag", "Kiwi")
    (outcome,) = loading.load([gone], str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("fetch", "NotFound")


def test_what_this_machine_cannot_read_is_rejected_with_its_words(tmp_path):
    (tmp_path / "Kiwi" / "0.jpg").mkdir(parents=True)  # since it was listed; a bad sector is another OSError
    (outcome,) = loading.load([ImageRef("Kiwi/0.jpg", 10, "etag", "Kiwi")], str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error, outcome.message) == ("fetch", "IsADirectoryError", "is a directory")


def test_a_file_too_large_to_be_a_photograph_is_not_fetched(tmp_path):
    (outcome,) = loading.load([ImageRef("big.jpg", loading.MAX_BYTES + 1, "etag", "x")], str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("list", "TooLarge")


def test_a_forbidden_file_is_rejected(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionDeniedError("403 Forbidden")

    monkeypatch.setattr("obstore.get", refuse)
    (outcome,) = loading.load([ImageRef("x.jpg", 1, "etag", "x")], "s3://bucket/x", size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("fetch", "AccessDenied")


def test_a_server_that_is_away_is_no_rejection(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise GenericError("error sending request")

    monkeypatch.setattr("obstore.get", fail)
    with pytest.raises(GenericError):
        list(loading.load([ImageRef("x.jpg", 1, "etag", "x")], "s3://bucket/x", size=16))


def test_a_picture_that_takes_too_much_is_rejected_with_its_numbers(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bombs.png(100_000_000, 1))
    listed = list(images.list_images(str(tmp_path), ListingSummary()))
    (outcome,) = loading.load(listed, str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("decode", "TooLarge")
    assert "100000000 × 1 pixels" in outcome.message


@pytest.mark.parametrize(("function", "stage"), [("pathlib.Path.read_bytes", "fetch"), ("PIL.Image.open", "decode")])
def test_without_memory_an_image_is_rejected(function, stage, tmp_path, monkeypatch):
    def short(*_, **__):
        raise MemoryError

    (tmp_path / "x.jpg").write_bytes(pictures.encode(pictures.pixels(1)))
    monkeypatch.setattr(function, short)
    (outcome,) = loading.load(images.list_images(str(tmp_path), ListingSummary()), str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == (stage, "MemoryError")
