"""The smallest difference that a test set can show: its formula against numbers that are known, and what moves it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cxrssl.stats.power import (
    USUAL,
    auroc_variance,
    describe_in_words,
    describe_smallest,
    find_smallest_difference,
    find_smallest_differences,
)
from cxrssl.stats.student import t_quantile


def counts(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_the_variance_is_that_of_scores_that_are_exponential() -> None:
    rng = np.random.default_rng(0)
    pos, neg = rng.exponential(3.0, (20_000, 12)), rng.exponential(1.0, (20_000, 30))
    drawn = (pos[:, :, None] > neg[:, None, :]).mean(axis=(1, 2))
    (variance,) = auroc_variance(0.75, counts(12), counts(30))
    assert drawn.mean() == pytest.approx(0.75, abs=0.003)
    assert drawn.var() == pytest.approx(variance, rel=0.05)


def test_one_finding_and_one_seed_give_the_textbook_difference() -> None:
    (variance,) = auroc_variance(0.75, counts(40), counts(60))
    expected = (1.959964 + 0.841621) * math.sqrt(2 * (1 - 0.6) * variance)
    assert find_smallest_difference(counts(40), counts(60), 1) == pytest.approx(expected, rel=1e-5)


def test_independent_findings_divide_the_variance_and_dependent_ones_do_not() -> None:
    one = find_smallest_difference(counts(40), counts(60), 1)
    four = counts(40, 40, 40, 40), counts(60, 60, 60, 60)
    apart, alike = replace(USUAL, of_findings=0.0), replace(USUAL, of_findings=1.0)
    assert find_smallest_difference(*four, 1, apart) == pytest.approx(one / 2, rel=1e-5)
    assert find_smallest_difference(*four, 1, alike) == pytest.approx(one, rel=1e-5)


def test_many_subjects_leave_the_seeds_alone() -> None:
    many = 10**9
    expected = 0.01 / math.sqrt(3) * (t_quantile(0.975, 2) + t_quantile(0.8, 2))
    assert find_smallest_difference(counts(many), counts(many), 3) == pytest.approx(expected, rel=1e-3)


def test_a_finding_of_one_subject_counts_for_nothing_and_none_gives_no_number() -> None:
    with_rare = find_smallest_difference(counts(40, 1), counts(60, 99), 3)
    assert with_rare == find_smallest_difference(counts(40), counts(60), 3)
    assert math.isnan(find_smallest_difference(counts(1), counts(99), 3))
    assert math.isnan(find_smallest_difference(counts(), counts(), 3))


def test_on_the_demos_test_set_it_is_near_what_its_bootstrap_says() -> None:
    # Subjects of the 14 findings of the demo's 378 test films; a paired bootstrap of two encoders there has a standard
    # error of .0156.
    pos_L = counts(57, 48, 11, 48, 14, 9, 10, 54, 58, 64, 7, 13, 15, 58)
    neg_L = counts(109, 97, 127, 116, 127, 128, 124, 118, 112, 109, 125, 127, 127, 117)
    assert find_smallest_difference(pos_L, neg_L, 1) / 2.8016 == pytest.approx(0.0156, abs=0.003)


def test_the_assumptions_are_told_in_words() -> None:
    assert "80% power" in str(USUAL)
    assert "correlation 0.6 of two arms" in str(USUAL)


def test_each_finding_alone_shows_what_its_own_subjects_can() -> None:
    pos, neg = counts(40, 400, 1), counts(60, 600, 99)
    rare, common, alone = find_smallest_differences(pos, neg, 3)
    assert rare == find_smallest_difference(counts(40), counts(60), 3)
    assert common == find_smallest_difference(counts(400), counts(600), 3) < rare
    assert math.isnan(alone)


def test_what_a_test_set_can_show_is_one_sentence_and_json_without_nan() -> None:
    shown = describe_smallest(["Hernia", "Edema", "Mass"], counts(40, 400, 1), counts(60, 600, 99), 3)
    assert shown["findings"]["Mass"] is None
    assert shown["macro"] == find_smallest_difference(counts(40, 400, 1), counts(60, 600, 99), 3)
    rare, common = shown["findings"]["Hernia"], shown["findings"]["Edema"]
    assert describe_in_words(shown) == (
        f"Smallest difference in AUROC of two arms of 3 seeds that these test subjects can show: macro "
        f"{shown['macro']:.3f}, by finding {common:.3f} (Edema) to {rare:.3f} (Hernia). {USUAL}."
    )
    nothing = describe_smallest([], counts(), counts(), 1)
    assert (nothing["macro"], nothing["findings"]) == (None, {})
    assert "show no difference" in describe_in_words(nothing)
