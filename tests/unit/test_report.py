"""The report is one well-formed page that tells everything, asks for nothing and believes nobody's text."""

import io
import math
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline import plots
from pipeline.accounting import Rejection
from pipeline.confusion import Confusion
from pipeline.report import Content, Example, Setting, render

VOID = {"br", "img", "link", "meta", "wbr"}
SECTIONS = ["components", "classifier", "examples", "rejected", "time", "spark", "run"]
HOSTILE = [
    "<script>alert('1')</script>",
    "\"><img src=x onerror='alert(2)'>",
    "</td></table></svg><iframe src=//evil.example>",
    "$tiles ${scree} $$ $\\frac{$ %s {0}",
    "&amp; &lt;b&gt;",
    "日本語 🍎 עברית",
    "nul\x00 escape\x1b lone\udce9 turned\u202egpj.exe",
]


class Page(HTMLParser):
    """Reads a page: its text, attributes and ids; fails where tags do not balance."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self._section = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
            self.sections[self._section] = self.sections.get(self._section, "") + data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def thumbnail() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 30, 30)).save(sink, "JPEG")
    return sink.getvalue()


def example(label: str, predicted: str | None) -> Example:
    probability = None if predicted is None else 0.75
    return Example(
        thumbnail=thumbnail(),
        path=f"{label}/0_100.jpg",
        label=label,
        predicted=predicted,
        probability=probability,
        split="test",
    )


def make_content(
    labels: Sequence[str] = ("Apple", "Kiwi", "Plum"), *, features: int = 64, components: int = 5
) -> Content:
    """A run of six images a class: of each class's test images all but one are classified right."""
    count, rng = len(labels), np.random.default_rng(1)
    ratios = 0.5 ** np.arange(features)
    drawn = [label for label in labels for _ in range(6)]
    drawn = drawn[:: math.ceil(len(drawn) / 3000)]
    cells = [cell for n in range(count) for cell in ((n, n, 4), (n, (n + 1) % count, 1))]
    confusion = Confusion.of(count, cells)
    per_class = [{"label": label, "precision": 0.8, "recall": 0.8, "f1": 0.8, "support": 5} for label in labels]
    return Content(
        run={
            "run": "20261122-134501-3fa2",
            "started": "2026-11-22T13:45:01+00:00",
            "settings": {"input": "s3://lab/images", "output": "s3://lab/out", "components": None, "variance": 0.95},
            "counts": {"listed": 6 * count, "extracted": 6 * count - 1, "known": 1, "rejected": 0, "skipped": 3},
            "skipped_names": {"Thumbs.db": 3},
            "variance_kept": 0.969,
            "seconds": {"list": 0.25, "extract": 2.0, "classify": 120.0},
            "model": {"name": "lite0.tflite", "sha256": "9f86d081", "features": features},
            "versions": {"spark": "4.1.1", "rarely seen": "1.0"},
            "cluster": {"master": "local[2]", "slots": 2},
        },
        ratios=(ratios / ratios.sum()).tolist(),
        components=components,
        scree=plots.scree(ratios / ratios.sum(), components),
        points=rng.normal(size=(len(drawn), min(components, 2))),
        point_labels=drawn,
        labels=labels,
        confusion=confusion,
        metrics={
            "classifier": {"kind": "lda", "shrinkage": 0.3, "temperature": 4.0},
            "accuracy": 0.8,
            "macro_f1": 0.8,
            "log_loss": 0.4321,
            "expected_calibration_error": 0.0678,
            "reliability": [
                {"low": 0.4, "high": 0.5, "images": count, "sureness": 0.45, "accuracy": 0.5},
                {"low": 0.9, "high": 1.0, "images": 4 * count, "sureness": 0.98, "accuracy": 0.9},
            ],
            "test_images": 5 * count,
            "train_images": count,
            "per_class": per_class,
            "notes": ["Plum: 1 training image"],
        },
        examples=[example(labels[0], labels[-1]), example(labels[0], labels[0]), example(labels[-1], None)],
        rejected=[],
        settings=[Setting(key="spark.executor.cores", value="4", reason="One model a core.")],
    )


def without_classifier(content: Content) -> Content:
    none: dict[str, object] = {
        "classifier": None,
        "accuracy": None,
        "macro_f1": None,
        "per_class": [],
        "reliability": [],
    }
    none |= {"notes": ["no classifier: there is Apple only"]}
    return replace(content, confusion=None, metrics={**content.metrics, **none})


def rejection(text: str) -> Rejection:
    return Rejection(path=f"{text}.jpg", size=1234, stage="decode", error="OSError", message=f"cannot read {text}")


CASES = {
    "three classes": make_content(),
    "many classes": make_content([f"Fruit {number}" for number in range(130)], features=1280, components=87),
    "5,000 classes": make_content([f"Fruit {number}" for number in range(5000)], features=1280, components=87),
    "one component, 5,000 classes": make_content([f"Fruit {number}" for number in range(5000)], components=1),
    "one component": make_content(components=1),
    "one component, many classes": make_content([f"Fruit {number}" for number in range(130)], components=1),
    "all components": make_content(features=8, components=8),
    "one class": without_classifier(make_content(["Apple"])),
    "no test images": replace(make_content(), confusion=Confusion.of(3, [])),
    "one image": without_classifier(
        replace(make_content(["Apple"], features=1, components=1), points=np.zeros((1, 1)), point_labels=["Apple"])
    ),
    "no variance": replace(
        make_content(), ratios=[0.0] * 64, scree=plots.scree([0.0] * 64, 5), points=np.zeros((18, 2))
    ),
    "nothing": replace(
        without_classifier(make_content()),
        run={},
        points=np.zeros((0, 2)),
        point_labels=[],
        examples=[],
        settings=[],
        metrics={},
    ),
    "hostile": replace(
        make_content(HOSTILE),
        run={**make_content().run, **{part: dict.fromkeys(HOSTILE, HOSTILE[0]) for part in ("versions", "settings")}},
        rejected=[rejection(text) for text in HOSTILE],
        settings=[Setting(key=text, value=text, reason=text) for text in HOSTILE],
    ),
}


@pytest.fixture(name="page", params=CASES)
def _page(request: pytest.FixtureRequest) -> str:
    return render(CASES[request.param])


@pytest.mark.filterwarnings("error")
def test_every_page_is_whole(page: str) -> None:
    read = Page(page)
    assert page.startswith("<!doctype html>")
    assert ("html", "lang", "en") in read.attributes
    assert [ident for tag, name, ident in read.attributes if (tag, name) == ("section", "id")] == SECTIONS
    assert all(read.sections[section].strip() for section in SECTIONS)
    assert not re.search(r"\bnan\b", read.text)
    assert len(page.encode()) < 2_000_000


def test_every_page_is_self_contained(page: str) -> None:
    read = Page(page)
    for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
        assert [value for value in read.values(name) if not value.startswith(("data:", "#"))] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert read.tags.keys().isdisjoint({"script", "iframe", "object", "embed", "form", "base"})
    assert [name for _, name, _ in read.attributes if name.startswith("on")] == []


def test_every_id_is_one_of_a_kind_and_every_link_has_its_end(page: str) -> None:
    read = Page(page)
    idents = read.values("id")
    assert sorted(idents) == sorted(set(idents))
    targets = {value for name in ("href", "xlink:href") for value in read.values(name) if value.startswith("#")}
    assert {target.removeprefix("#") for target in targets | set(re.findall(r"url\((#\w+)\)", page))} <= set(idents)


def test_a_picture_has_words(page: str) -> None:
    read = Page(page)
    assert read.tags["img"] == sum(bool(value) for value in read.values("alt"))
    assert (
        read.tags["svg"] == sum(bool(value) for value in read.values("aria-label")) - 2
    )  # navigation, list of classes


def test_hostile_text_is_shown_as_it_is() -> None:
    text = Page(render(CASES["hostile"])).text
    for words in HOSTILE[:-1]:
        assert words in text
    assert r"nul\x00 escape\x1b lone\udce9 turned\u202egpj.exe" in text


def test_what_the_page_tells() -> None:
    read = Page(render(CASES["three classes"]))
    text = read.text.replace("\u00a0", " ")
    assert "Image features of s3://lab/images" in text
    assert "2026-11-22 13:45:01 UTC" in text
    assert "17 extracted, 1 already known" in text
    assert "Images per second8" in text  # 17 in 2.0 s; half to even
    assert "Kept (blue): 5 of 64 components, 96.9 % of the variance. The rest holds 3.1 %." in text
    assert (
        "Of 15 test images it names 12 rightly, 80.0 %; always naming the most frequent class would reach 33.3 %"
        in text
    )
    assert "120 s" in read.sections["time"].replace("\u00a0", " ")
    assert "One model a core." in read.sections["spark"]
    assert "rarely seen" in read.sections["run"]
    assert "Plum: 1 training image" in read.sections["classifier"]


def test_a_mistake_is_told_by_sign_and_word_too() -> None:
    examples = Page(render(CASES["three classes"])).sections["examples"]
    assert "✗ Plumin truth Apple" in examples
    assert "✓ Apple" in examples


def test_few_classes_are_a_table_and_many_a_picture() -> None:
    few, many = render(CASES["three classes"]), render(CASES["many classes"])
    assert 'class="matrix"' in few
    assert 'class="matrix"' not in many
    assert Page(few).tags["svg"] == 3
    assert Page(many).tags["svg"] == 4
    assert re.findall(r'<text class="name"[^>]*>([^<]*)<', few) == ["Apple", "Kiwi", "Plum"]
    assert re.findall(r'<text class="name"[^>]*>([^<]*)<', many) == [str(number) for number in range(1, 131)]


def test_the_page_does_not_grow_with_the_square_of_the_classes() -> None:
    page = render(CASES["5,000 classes"])
    assert len(page) < 2_000_000
    text = Page(page).sections["classifier"]
    assert "The 300 weakest classes" in text
    assert "the test images of 13 classes" in text
    assert "and 4,700 more" in Page(page).text


def test_no_name_covers_another() -> None:
    found = re.findall(
        r'<text class="name" x="([\d.]+)" y="([\d.]+)"[^>]*font-size="([\d.]+)">', render(CASES["many classes"])
    )
    places = np.array(found, dtype=float)
    assert len(places) == 130
    apart = np.abs(places[:, None, :2] - places[None, :, :2])
    size = places[0, 2]
    covered = (apart[..., 0] < 0.6 * size) & (apart[..., 1] < size - 0.11)
    assert not (covered & ~np.eye(130, dtype=bool)).any()


def test_without_a_classifier_the_notes_say_why() -> None:
    classifier = Page(render(CASES["one class"])).sections["classifier"]
    assert "There is no classifier." in classifier
    assert "no classifier: there is Apple only" in classifier


@pytest.mark.parametrize(
    ("rejected", "words"),
    [(0, "None: each of the 18 images gave its features."), (1, "1 of 18 images"), (250, "The first 1 are shown.")],
)
def test_rejected(rejected: int, words: str) -> None:
    content = make_content()
    run = {**content.run, "counts": {**content.run["counts"], "rejected": rejected}}
    section = Page(render(replace(content, run=run, rejected=[rejection("Kiwi")][:rejected]))).sections["rejected"]
    assert words in section
    assert "Thumbs.db (3)" in section
    assert ("cannot read Kiwi" in section) == (rejected > 0)


def test_the_same_run_gives_the_same_page() -> None:
    assert render(make_content()) == render(make_content())


def test_it_works_from_a_zip(tmp_path: Path) -> None:
    folder, archive = Path(pipeline.__file__).parent, tmp_path / "job.zip"
    with zipfile.ZipFile(archive, "w") as job:
        for file in (*folder.glob("*.py"), folder / "report.html"):
            job.write(file, f"pipeline/{file.name}")
    program = (
        "import sys, numpy; from pipeline import report; assert 'job.zip' in report.__file__; "
        "assert 'matplotlib' not in sys.modules; "  # a run with nothing new does not pay for it
        "print(report.render(report.Content(run={}, ratios=[1.0], components=1, scree='<svg/>', "
        "points=numpy.zeros((1, 1)), point_labels=['a'], labels=['a'], confusion=None, metrics={}, examples=[], "
        "rejected=[], settings=[])))"
    )
    path = f"import sys; sys.path.insert(0, {str(archive)!r}); {program}"
    done = subprocess.run([sys.executable, "-P", "-c", path], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.rstrip().endswith("</html>")


def test_how_right_the_probabilities_are_is_drawn_and_said():
    page = render(CASES["three classes"])
    assert "Linear discriminant analysis (covariance shrunk by 0.3, temperature 4.00) of the components" in page
    assert "Log loss 0.432, expected calibration error 6.8\u00a0%" in page
    assert page.count("Probability of the predicted class") == 1
    assert "Probability of the predicted class" not in render(CASES["one class"])
