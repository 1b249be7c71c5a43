import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import results


def test_vectors_and_matrix_are_each_others_inverse():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.chunked_array([results.vectors(rows)])
    assert column.to_pylist() == rows.tolist()
    np.testing.assert_array_equal(results.matrix(column), rows)
    np.testing.assert_array_equal(results.matrix(column.slice(1, 2)), rows[1:3])


def test_rows_are_counted_from_footers(tmp_path):
    for number in (0, 3, 70_000):
        pq.write_table(pa.table({"path": [str(n) for n in range(number)]}), tmp_path / f"{number}.parquet")
    assert results.count_rows([f"{tmp_path}/{name}" for name in results.parquet_files(str(tmp_path))]) == 70_003


def test_what_is_read_back_is_what_was_written_and_vectors_lie_as_they_are(tmp_path):
    rows = np.zeros((100, 50), np.float32)
    columns = [[f"{number}.jpg" for number in range(100)], ["a"] * 100, ["train"] * 100, results.vectors(rows)]
    table = pa.table(columns, schema=results.REDUCED_SCHEMA)
    results.write_table(f"{tmp_path}/a.parquet", table)
    assert results.read_table(f"{tmp_path}/a.parquet").equals(table)
    chunks = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    compressions = {chunks.column(n).path_in_schema.partition(".")[0]: chunks.column(n).compression for n in range(4)}
    assert compressions == {"path": "SNAPPY", "label": "SNAPPY", "split": "SNAPPY", "pca": "UNCOMPRESSED"}
    assert chunks.column(0).statistics is not None
    assert chunks.column(3).statistics is None
