"""P-values of intervals and Holm's adjustment: numbers worked by hand, and the error of whole families."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrssl.stats.holm import adjust, adjust_family, describe_family, p_of_interval, show_p
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
    assert math.isnan(p_of_interval(Interval(0.2, 0.3, 0.4, 10)))


def test_no_difference_has_p_1() -> None:
    assert p_of_interval(Interval(0.0, -0.1, 0.1, 10)) == pytest.approx(1)


def test_what_is_left_of_a_family_is_said_in_a_sentence() -> None:
    sure, perhaps = Interval(0.05, 0.03, 0.07, 10), Interval(0.03, 0.001, 0.059, 10)
    family = {"Edema": perhaps, "Mass": sure, "Hernia": Interval(0.01, math.nan, math.nan, 0)}
    adjusted = adjust_family(family)
    assert (adjusted["Mass"] < 0.001, math.isnan(adjusted["Hernia"])) == (True, True)
    sentence = describe_family(family, "findings")
    assert sentence == "Holm over findings (2): Mass (p below .001), Edema (p .043) differs at 0.05."
    three = {**family, "Cyst": perhaps}
    assert describe_family(three, "findings") == "Holm over findings (3): Mass (p below .001) differs at 0.05."
    assert describe_family({"Mass": sure}, "findings") == ""
    assert "none differs" in describe_family({"a": Interval(0.0, -1, 1, 9), "b": Interval(0.0, -1, 1, 9)}, "arms")
    assert show_p(0.0312) == ".031"


def test_of_families_without_any_difference_one_in_twenty_errs_at_most() -> None:
    rng = np.random.default_rng(0)
    p_values = rng.random((4000, 14))
    errs = np.mean([min(adjust(each.tolist())) <= 0.05 for each in p_values])
    alone = np.mean(p_values.min(axis=1) <= 0.05)
    assert errs == pytest.approx(0.05, abs=0.012)
    assert alone > 0.4
