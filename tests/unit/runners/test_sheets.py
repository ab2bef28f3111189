"""The score sheets of classes, and of sets with any facets, by hand; i-CLEVR's is what it was to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from runners.evaluation import class_sheet, set_sheet
from runners.tasks.iclevr.labels import ABOUT

ICLEVR = ABOUT.facets
BEFORE = {
    "accuracy": 0.514768,
    "accuracy_macro": 0.5,
    "exact": 0.45,
    "colour_only": 0.084388,
    "shape_only": 0.244726,
    "chance": 0.096519,
    "objects": 79,
    "accuracy_1_objects": 0.5,
    "accuracy_2_objects": 0.410256,
    "accuracy_3_objects": 0.589744,
    "spurious": 11.025,
    "missing": 0.95,
}


def random_outcomes(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three passes over 40 conditions of one to three labels, half of the labels hit."""
    rng = np.random.default_rng(seed)
    objects = rng.integers(1, 4, 40)
    ranks = np.argsort(np.argsort(rng.random((4, 40, 24)), axis=-1), axis=-1)
    asked = ranks[0] < objects[:, None]
    predicted = np.where(rng.random((3, 40, 1)) < 0.5, asked, ranks[1:] < objects[:, None])
    return predicted, asked, rng.random((3, 40, 24)).astype(np.float32)


def test_the_sheet_of_iclevr_is_what_it_was():
    """Numbers of the version that knew colours and shapes alone."""
    predicted, asked, probability = random_outcomes(0)
    sheet = set_sheet.set_sheet("test", predicted, asked, ICLEVR, probability)
    assert {name.partition("/")[0]: round(value, 6) for name, value in sheet.items()} == BEFORE


def test_without_facets_there_are_no_confusions_by_facet():
    predicted, asked, _ = random_outcomes(0)
    sheet = set_sheet.set_sheet("test", predicted, asked, {})
    assert not [key for key in sheet if "_only" in key]
    assert sheet["accuracy/test"] == set_sheet.set_sheet("test", predicted, asked, ICLEVR)["accuracy/test"]


def test_right_in_one_facet_of_three():
    """A large red cube: right in colour alone is small, red and no cube; what shares two facets is right in none."""
    sizes, colours, shapes = zip(
        *[(s, c, h) for s in ("large", "small") for c in ("red", "blue") for h in ("cube", "ball")], strict=True
    )
    names = [" ".join(parts) for parts in zip(sizes, colours, shapes, strict=True)]
    near = set_sheet.right_in_one({"size": sizes, "colour": colours, "shape": shapes})
    found = {
        facet: [names[i] for i in np.flatnonzero(near_LL[names.index("large red cube")])]
        for facet, near_LL in near.items()
    }
    assert found == {"size": ["large blue ball"], "colour": ["small red ball"], "shape": ["small blue cube"]}
    asked = np.eye(8, dtype=bool)[[0, 0, 0]]  # large red cube
    named = np.eye(8, dtype=bool)[[names.index("small red ball"), names.index("large red ball"), 0]]
    sheet = set_sheet.set_sheet("x", named[None], asked, {"size": sizes, "colour": colours, "shape": shapes})
    assert (sheet["size_only/x"], sheet["colour_only/x"], sheet["shape_only/x"]) == pytest.approx((0, 1 / 3, 0))


def test_one_facet_is_a_family_and_a_label_without_a_value_is_like_no_other():
    near = set_sheet.right_in_one({"family": ["cat", "cat", "dog", "", ""]})["family"]
    assert [(int(i), int(j)) for i, j in np.argwhere(near)] == [(0, 1), (1, 0)]


def test_classes_by_hand():
    """Class 0 asked thrice and named once, class 1 asked once and named; two passes."""
    asked = np.eye(4, dtype=bool)[[0, 0, 0, 1]]
    named = np.stack([np.eye(4, dtype=bool)[[0, 1, 2, 1]], asked])
    sheet = class_sheet.class_sheet("test", named, asked)
    assert sheet == {
        "accuracy/test": pytest.approx((2 / 4 + 1) / 2),
        "accuracy_macro/test": pytest.approx(((1 / 3 + 1) / 2 + 1) / 2),
        "chance/test": 1 / 4,
        "objects/test": 4,
    }
    matrix = class_sheet.confusion(named, asked)
    assert matrix.tolist() == [[4, 1, 1, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    rows = set_sheet.by_class("test", "abcd", named, asked)
    assert [(row["asked"], row["hits"], row["named_unasked"]) for row in rows] == [
        (6, 4, 0),
        (2, 2, 1),
        (0, 0, 1),
        (0, 0, 0),
    ]


def test_top_five_where_there_are_more_than_ten_classes():
    asked = np.eye(12, dtype=bool)[[0, 1, 2]]
    probability = np.tile(np.arange(12, 0, -1, dtype=np.float32), (1, 3, 1))  # class 0 first
    probability[0, 1, 1] = 7.5  # behind four others: among the five
    probability[0, 2, 2] = 7  # equal to the sixth class, which comes later: the fifth
    named = np.eye(12, dtype=bool)[[[0, 0, 0]]]
    sheet = class_sheet.class_sheet("x", named, asked, probability)
    assert sheet["accuracy/x"] == pytest.approx(1 / 3)
    assert sheet["accuracy_top5/x"] == 1
    assert sheet["chance_top5/x"] == 5 / 12
    probability[0, 2, 2] = 6.9
    assert class_sheet.class_sheet("x", named, asked, probability)["accuracy_top5/x"] == pytest.approx(2 / 3)
    ten = class_sheet.class_sheet("x", named[:, :, :10], asked[:, :10], probability[:, :, :10])
    assert "accuracy_top5/x" not in ten


def test_chance_is_what_a_random_class_gets():
    rng = np.random.default_rng(0)
    asked = np.eye(7, dtype=bool)[rng.integers(0, 7, 50)]
    named = np.eye(7, dtype=bool)[rng.integers(0, 7, (400, 50))]
    sheet = class_sheet.class_sheet("x", named, asked)
    assert sheet["accuracy/x"] == pytest.approx(sheet["chance/x"], abs=0.01)


def test_the_accuracy_on_real_images_has_the_list_s_mix_of_classes():
    """Real images: class 0 right in 3 of 4, class 1 in 1 of 2. A list of one of class 0 and three of class 1."""
    eye = np.eye(3, dtype=bool)
    real, named = eye[[0, 0, 0, 0, 1, 1]], eye[[0, 0, 0, 2, 1, 0]]
    assert class_sheet.real_accuracy(eye[[0, 1, 1, 1]], named, real) == pytest.approx((0.75 + 3 * 0.5) / 4)
    assert np.isnan(class_sheet.real_accuracy(eye[[0, 2]], named, real))
