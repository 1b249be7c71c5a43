import math
from random import Random

import pytest

from pipeline.split import Splitter


def split(paths, seed=42):
    splitter = Splitter(seed)
    for path in paths:
        splitter.learn(path, path.split("/")[-2])
    return {path: splitter.side(path, path.split("/")[-2]) for path in paths}


FRUITS = [
    f"{label}/{fruit}_{view}.jpg" for label in ("Kiwi", "Lemon", "Pear") for fruit in range(20) for view in range(4)
]


@pytest.mark.parametrize("seed", range(5))
def test_views_of_a_fruit_stay_together_and_every_class_has_both_sides(seed):
    sides = split(FRUITS, seed)
    for label in ("Kiwi", "Lemon", "Pear"):
        fruits = {fruit: {sides[f"{label}/{fruit}_{view}.jpg"] for view in range(4)} for fruit in range(20)}
        assert all(len(found) == 1 for found in fruits.values())
        assert {side for found in fruits.values() for side in found} == {"train", "test"}


def test_about_a_fifth_tests():
    sides = split([f"x/{number}a.jpg" for number in range(5000)])
    assert 0.17 < list(sides.values()).count("test") / 5000 < 0.23


def test_the_order_of_listing_does_not_matter_and_the_seed_does():
    assert split(FRUITS) == split(FRUITS[::-1])
    assert split(FRUITS, 1) != split(FRUITS, 2)


def test_new_images_move_no_old_one_across():
    before = split(FRUITS)
    after = split([*FRUITS, *[f"Kiwi/{fruit}_0.jpg" for fruit in range(100, 160)]])
    assert sum(before[path] != after[path] for path in FRUITS) <= 8, "at most the two fruits at the ends of a class"


def test_a_sets_own_folders_are_its_split():
    paths = [
        "fruits/Training/Kiwi/0.jpg",
        "fruits/TEST/Kiwi/1.jpg",
        "fruits/train/Pear/2.jpg",
        "fruits/test/Pear/3.jpg",
    ]
    assert list(split(paths).values()) == ["train", "test", "train", "test"]


def test_they_are_so_for_archives_that_name_the_classes_themselves():
    splitter, sides = Splitter(42), {"Training": "train", "Test": "test"}
    images = [(f"{side}/{number % 3}.tar!{number:04}.jpg", "Kiwi") for side in sides for number in range(50)]
    images += [(f"all.tar!{side}/{number}.jpg", "Lemon") for side in sides for number in range(50)]
    for image in images:
        splitter.learn(*image)
    for path, label in images:
        assert splitter.side(path, label) == next(side for name, side in sides.items() if name in path)


def test_one_such_folder_alone_or_a_class_of_that_name_is_none():
    assert set(split([f"train/Kiwi/{number}a.jpg" for number in range(50)]).values()) == {"train", "test"}
    classes = [f"{label}/{number}a.jpg" for label in ("Test", "Train") for number in range(25)]
    assert set(split(classes).values()) == {"train", "test"}


def test_camera_names_draw_one_by_one():
    assert set(split([f"Kiwi/IMG_{number:04}.jpg" for number in range(40)]).values()) == {"train", "test"}


def test_small_classes():
    assert split(["Kiwi/a.jpg"]) == {"Kiwi/a.jpg": "train"}
    assert sorted(split(["Kiwi/a.jpg", "Kiwi/b.jpg"]).values()) == ["test", "train"]


def test_the_rule_of_a_class_tells_whether_an_image_may_have_changed_sides():
    """Whatever is added: while a class's rule is the same, so are the sides and lots of its images."""
    random, moved = Random(1), 0
    for _ in range(300):
        images = [f"Kiwi/{random.randrange(4)}_{view}.jpg" for view in range(random.randrange(1, 6))]
        more = [f"Kiwi/{random.randrange(9)}_{view}.jpg" for view in range(random.randrange(6, 9))]
        seed = random.randrange(50)
        before, after = Splitter(seed), Splitter(seed)
        for path in images:
            before.learn(path, "Kiwi")
        for path in images + more:
            after.learn(path, "Kiwi")
        same = all(before.side(path, "Kiwi") == after.side(path, "Kiwi") for path in images)
        moved += not same
        assert same or before.rule("Kiwi") != after.rule("Kiwi")
    assert moved > 10


def test_views_of_a_fruit_have_one_lot_and_test_images_none():
    splitter = Splitter(42)
    for path in FRUITS:
        splitter.learn(path, path.split("/")[0])
    lots = {path: splitter.lot(path, path.split("/")[0]) for path in FRUITS}
    assert {path for path in FRUITS if math.isnan(lots[path])} == {p for p, s in split(FRUITS).items() if s == "test"}
    trained = [path for path in FRUITS if not math.isnan(lots[path])]
    assert len({lots[path] for path in trained}) == len({path.rpartition("_")[0] for path in trained})
    assert all(0 <= lots[path] < 1 for path in trained)


def test_images_of_a_class_that_trains_on_one_fruit_draw_lots_one_by_one():
    splitter = Splitter(42)
    paths = [f"{side}/Kiwi/a_{view}.jpg" for side in ("Training", "Test") for view in range(20)]
    for path in paths:
        splitter.learn(path, "Kiwi")
    assert len({splitter.lot(path, "Kiwi") for path in paths[:20]}) == 20
