"""P-values of intervals and Holm's adjustment: numbers worked by hand, and the error of whole families."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrssl.stats.holm import adjust, adjust_named, explain_mark, has_mark, p_of_interval, p_of_mean
from cxrssl.stats.resample import Interval


def test_a_family_worked_by_hand() -> None:
    assert adjust([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust([0.9, 0.8]) == [1.0, 1.0]
    assert adjust([]) == []


def test_a_number_without_a_p_value_stays_without_and_does_not_count() -> None:
    with_gap = adjust([0.01, math.nan, 0.04])
    assert with_gap[0] == pytest.approx(0.02)
    assert math.isnan(with_gap[1])
    assert with_gap[2] == pytest.approx(0.04)


@pytest.mark.parametrize(("lo", "expected"), [(0.0, 0.05), (0.01, 0.0088), (-0.02, 0.19)])
def test_the_p_value_agrees_with_its_interval(lo: float, expected: float) -> None:
    value = 0.04
    p = p_of_interval(Interval(value, lo, 2 * value - lo, 100))
    assert p == pytest.approx(expected, rel=0.02)
    assert p_of_interval(Interval(-value, lo - 2 * value, -lo, 100)) == pytest.approx(p)


def test_without_an_interval_there_is_no_p_value() -> None:
    assert math.isnan(p_of_interval(Interval(0.1, math.nan, math.nan, 0)))


def test_no_difference_has_p_1() -> None:
    assert p_of_interval(Interval(0.0, -0.1, 0.1, 10)) == pytest.approx(1)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 7.5, 1e6, math.inf])
def test_the_p_value_of_students_t_agrees_with_its_interval(freedom: float) -> None:
    assert p_of_interval(Interval(0.04, 0.0, 0.08, 100), freedom=freedom) == pytest.approx(0.05, rel=1e-4)
    assert p_of_interval(Interval(0.04, 1e-4, 0.0799, 100), freedom=freedom) < 0.05
    assert p_of_interval(Interval(0.04, -1e-4, 0.0801, 100), freedom=freedom) > 0.05


def test_few_seeds_have_the_p_value_of_their_degrees_of_freedom() -> None:
    """t = 3 x 4.3027 with 2 degrees of freedom."""
    found = Interval(0.09, 0.06, 0.12, 100)
    assert p_of_mean(found, 3, 2.0) == pytest.approx(0.0059494, rel=1e-3)
    assert p_of_mean(found, 3, None) == p_of_mean(found, 3, 2.0) > p_of_mean(found, 3, 10.0)
    assert p_of_mean(found, 1, None) == p_of_interval(found) < 1e-8


def test_the_mark_is_explained_with_its_family() -> None:
    assert adjust_named({"Edema": 0.04, "Mass": 0.01, "Hernia": math.nan})["Edema"] == pytest.approx(0.04)
    assert (has_mark(0.05), has_mark(0.0501), has_mark(math.nan)) == (True, False, False)
    sentence = "^: differs at 0.05 when p is adjusted for the number of findings (Holm 1979)"
    assert explain_mark([0.01, 0.2, math.nan], "findings") == f"{sentence}."
    assert explain_mark([0.2], "findings") == f"{sentence}; none does."
    assert explain_mark([math.nan], "findings") == explain_mark([], "findings") == ""


def test_of_families_without_any_difference_one_in_twenty_errs_at_most() -> None:
    rng = np.random.default_rng(0)
    p_values = rng.random((4000, 14))
    errs = np.mean([min(adjust(each.tolist())) <= 0.05 for each in p_values])
    alone = np.mean(p_values.min(axis=1) <= 0.05)
    assert errs == pytest.approx(0.05, abs=0.012)
    assert alone > 0.4


def test_a_number_beyond_its_interval_stays_in_the_family() -> None:
    beyond = Interval(0.03, 0.031, 0.08, 1000, 1000, 12)
    assert p_of_interval(beyond) == pytest.approx(0.0164, abs=1e-4)
    assert adjust([0.02, p_of_interval(beyond)]) == pytest.approx([0.0328, 0.0328], abs=1e-4)
