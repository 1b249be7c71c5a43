"""The docs' table of jobs that others wrote is what was seen."""

from tests.jobs import runs
from tests.jobs.catalogue import JOBS


def test_the_page_has_the_table_of_what_was_seen():
    assert runs.table() in runs.PAGE.read_text()
    assert set(runs.seen()) == {example.name for example in JOBS}


def test_there_are_twelve_and_each_has_its_name_alone():
    assert len({example.name for example in JOBS}) == len(JOBS) >= 12
    assert all(example.program.is_file() for example in JOBS)
