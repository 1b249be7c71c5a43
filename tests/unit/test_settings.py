import pytest

from pipeline.settings import Settings, UsageError, from_args, location

GIVEN = ["--input", "in", "--output", "out", "--model", "m.tflite"]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--components", "12", "--classifier", "logistic"],
        ["--variance", "0.9", "--max-rejected", "5%"],
        ["--max-rejected", "0", "--seed", "7", "--verbose", "--live"],
    ],
)
def test_the_command_line_reads_back_as_it_was_written(more):
    settings = from_args([*GIVEN, *more])
    assert from_args(settings.to_args()) == settings


def test_locations_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert location("x/../y/", flag="--input") == str(tmp_path / "y")
    assert location((tmp_path / "a b").as_uri(), flag="--input") == str(tmp_path / "a b")
    assert location("s3://bucket/a b/", flag="--input") == "s3://bucket/a b"


@pytest.mark.parametrize(
    ("args", "flag", "value", "fix"),
    [
        (["--components", "0"], "--components", "'0'", "whole number from 1"),
        (["--components", "many"], "--components", "'many'", "whole number from 1"),
        (["--variance", "95"], "--variance", "'95'", "0.95"),
        (["--variance", "nan"], "--variance", "'nan'", "0.95"),
        (["--max-rejected", "-1"], "--max-rejected", "'-1'", "2.5%"),
        (["--max-rejected", "101%"], "--max-rejected", "'101%'", "2.5%"),
        (["--classifier", "forest"], "--classifier", "'forest'", "'lda', 'logistic'"),
        (["--seed", "x"], "--seed", "'x'", "--help"),
        (["--components", "3", "--variance", "0.5"], "--variance", "--components", "--help"),
        (["--output", "in/results"], "--output", "in/results", "beside"),
        (["--input", "out/images"], "--input", "out/images", "beside"),
        (["--output", "in"], "--output", "in", "beside"),
        (["--output", "out[1]"], "--output", "out[1]", "rename"),
        (["--input", "gs://bucket/x"], "--input", "gs://bucket/x", "s3://"),
        (["--input", "s3a://bucket/x"], "--input", "s3a://bucket/x", "s3://"),
        (["--input", "s3:///x"], "--input", "s3:///x", "s3://bucket"),
        (["--input", ""], "--input", "empty", "folder"),
        (["--output", "file://out/x"], "--output", "another machine, out", "file:///folder"),
        (["--input", "s3://[bucket]/x"], "--input", "s3://[bucket]/x", "s3://bucket/prefix"),
        (["--input", "~nobody here/x"], "--input", "~nobody here/x", "./~nobody here/x"),
        (["--colour", "red"], "--colour", "red", "--help"),
    ],
)
def test_a_mistake_is_one_line_with_flag_value_and_fix(args, flag, value, fix):
    with pytest.raises(UsageError) as caught:
        from_args([*GIVEN, *args])
    message = str(caught.value)
    assert "\n" not in message
    for part in (flag, value, fix):
        assert part in message


def test_the_limit_of_rejected_images():
    def limit(text, listed):
        return Settings(input="/i", output="/o", model="/m", max_rejected=text).rejected_limit(listed)

    assert [limit(None, listed) for listed in (5, 1000, 20_000)] == [10, 10, 200]
    assert limit("3", 20_000) == 3
    assert limit("0%", 20_000) == 0
    assert limit("2.5%", 1000) == 25
