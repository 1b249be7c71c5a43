"""What the tasks of the extraction leave where one of them was tried again."""

from unittest.mock import Mock

from pipeline import features, results
from pipeline.features import Extraction


def test_what_only_an_earlier_attempt_wrote_is_removed(tmp_path):
    target, rejected = f"{tmp_path}/features", f"{tmp_path}/rejected"
    task = Extraction(
        source="",
        target=target,
        rejected=rejected,
        prefix="key-run-",
        model=Mock(),
        labels=(),
        done=Mock(),
        failed=Mock(),
    )
    names = [f"key-run-{part:05d}.parquet" for part in range(2)]
    for name in (*names, "key-run-abcdef123456.parquet", "key-other-00000.parquet"):
        results.write_table(f"{target}/{name}", results.FEATURES_SCHEMA.empty_table())
    for name in (*names, "none.parquet"):
        results.write_table(f"{rejected}/{name}", results.REJECTED_SCHEMA.empty_table())
    features.discard_leftovers(task, parts=2, written={f"{target}/{names[0]}", f"{rejected}/{names[1]}"})
    assert results.parquet_files(target) == sorted(
        [names[0], "key-run-abcdef123456.parquet", "key-other-00000.parquet"]
    ), "new files of known features, and another run's, are no leftovers"
    assert results.parquet_files(rejected) == [names[1], "none.parquet"]
