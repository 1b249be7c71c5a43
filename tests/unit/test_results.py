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
