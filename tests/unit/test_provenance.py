import platform
from importlib import metadata

import pytest

from pipeline import provenance
from pipeline.provenance import EXTRACTION

MODULE = '''"""Doc."""
LIMIT = 3  # of something


def twice(n: int) -> int:
    """Doc."""
    return n * 2


class Empty:
    """Doc."""
'''


@pytest.mark.parametrize("edit", [("Doc.", "Another."), ("  # of something", ""), ("\n\n\nclass", "\n\n\n\n\nclass")])
def test_a_comment_makes_no_other_features(edit):
    assert provenance.code(MODULE.replace(*edit)) == provenance.code(MODULE)


@pytest.mark.parametrize("edit", [("3", "4"), ("n * 2", "n + 2"), ("Empty", "Full")])
def test_other_code_does(edit):
    assert provenance.code(MODULE.replace(*edit)) != provenance.code(MODULE)


@pytest.mark.parametrize("library", provenance.LIBRARIES)
def test_another_version_is_other_software(monkeypatch, library):
    here = provenance.software()
    real = metadata.version
    monkeypatch.setattr(provenance, "version", lambda name: "0.1" if name == library else real(name))
    assert provenance.software() == here.replace(f"{library} {real(library)}", f"{library} 0.1") != here


def test_another_processor_is_other_software(monkeypatch):
    here = provenance.software()
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert provenance.software() != here


def test_the_key_takes_in_model_software_and_code():
    key = provenance.extraction_key("a", "b", EXTRACTION)
    assert key == provenance.extraction_key("a", "b", EXTRACTION)
    assert (
        len(
            {
                key,
                *(
                    provenance.extraction_key(*of)
                    for of in (("x", "b", EXTRACTION), ("a", "x", EXTRACTION), ("a", "b", EXTRACTION[1:]))
                ),
            }
        )
        == 4
    )
