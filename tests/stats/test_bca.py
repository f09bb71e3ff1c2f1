"""The bootstrap corrected for bias and skewness: against the book, and where it is used."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrssl.stats.bca import METRICS, bca_interval, choose_interval, find_acceleration
from cxrssl.stats.measure import measure_resamples
from cxrssl.stats.resample import BCA, BCA_BELOW, CENTRED, PERCENTILE, percentile_interval
from cxrssl.stats.scores import compare_predictions, resample_metrics, score_predictions

# Efron & Tibshirani 1993, table 14.1 (test A of 26 children): they print a = .061 and a variance of 171.5.
SPATIAL_A = (48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41)


def test_the_example_of_the_book_has_its_acceleration() -> None:
    values = np.array(SPATIAL_A, float)
    without = np.array([np.delete(values, child).var() for child in range(len(values))])
    assert values.var() == pytest.approx(171.5, abs=0.05)
    assert find_acceleration(without) == pytest.approx(0.061, abs=0.0005)


def test_a_symmetric_error_without_bias_gives_the_percentiles() -> None:
    samples = np.linspace(0.4, 0.8, 1001)
    made = bca_interval(0.6, samples, np.linspace(0.59, 0.61, 51), 10)
    plain = percentile_interval(0.6, samples, 10)
    assert (made.lo, made.hi) == pytest.approx((plain.lo, plain.hi), abs=1e-6)
    assert (made.method, plain.method) == (BCA, PERCENTILE)
    assert ("method" in plain.to_dict(), made.to_dict()["method"]) == (False, BCA)


def test_a_value_above_most_resamples_moves_the_interval_up() -> None:
    samples = np.linspace(0.4, 0.8, 1001)
    made, plain = bca_interval(0.7, samples, np.zeros(9), 10), percentile_interval(0.7, samples, 10)
    assert made.lo > plain.lo + 0.08
    assert plain.hi < made.hi <= 0.8
    above_all = bca_interval(0.9, samples, np.zeros(9), 10)
    assert 0.4 <= above_all.lo <= above_all.hi <= 0.8


@pytest.mark.parametrize(("num_rarer", "method"), [(2, BCA), (BCA_BELOW - 1, BCA), (BCA_BELOW, PERCENTILE)])
def test_it_is_used_below_the_border(num_rarer: int, method: str) -> None:
    samples = np.linspace(0.4, 0.8, 101)
    assert choose_interval("auroc", 0.6, samples, np.linspace(0.5, 0.7, 9), num_rarer).method == method
    assert choose_interval("auroc", 0.6, samples, None, num_rarer).method == PERCENTILE
    assert choose_interval("auroc", 0.6, samples, np.linspace(0.5, 0.7, 9), 1).mark == "no interval"


def test_of_average_precision_it_is_centred_however_many_there_are() -> None:
    samples = np.linspace(0.4, 0.8, 101)
    for num_rarer in (2, BCA_BELOW, 1000):
        made = choose_interval("auprc", 0.5, samples, np.linspace(0.5, 0.7, 9), num_rarer)
        assert made.method == CENTRED
        np.testing.assert_allclose((made.lo, made.hi), (0.31, 0.69), atol=1e-12)
    assert choose_interval("auprc", 0.5, samples, None, 1).mark == "no interval"
    low = choose_interval("auprc", 0.01, np.linspace(0.0, 0.2, 101), None, 20)
    np.testing.assert_allclose((low.lo, low.hi), (0.0, 0.105), atol=1e-12)


def test_a_difference_has_percentiles_however_few_there_are() -> None:
    samples, without = np.linspace(-0.1, 0.3, 101), np.linspace(0.0, 0.2, 9)
    for metric in METRICS:
        made = choose_interval(metric, 0.05, samples, without, 5, is_difference=True)
        assert made.method == PERCENTILE
        np.testing.assert_allclose((made.lo, made.hi), (-0.09, 0.29), atol=1e-12)


def test_values_without_each_subject_are_those_of_a_loop_also_within_folds() -> None:
    rng = np.random.default_rng(0)
    ids, fold = rng.integers(0, 12, 50), rng.integers(0, 2, 50)
    probs, labels = rng.normal(size=(50, 2)).round(1), rng.integers(-1, 2, (50, 2))
    for folds in (None, fold):
        measured = measure_resamples(probs, labels, ids, ["a", "b"], 5, 0, folds)
        left_out = measured.without_each(probs, ids, folds, 100).without_TLS
        assert left_out is not None
        for place, subject in enumerate(np.unique(ids)):
            rows = ids != subject
            kept_folds = None if folds is None else folds[rows]
            kept = measure_resamples(probs[rows], labels[rows], ids[rows], ["a", "b"], 5, 0, kept_folds)
            np.testing.assert_allclose(left_out[:, :, place], kept.values_TL, rtol=0, atol=1e-12)
        assert measured.without_each(probs, ids, folds, 2).without_TLS is None


def test_a_finding_of_few_subjects_among_many_is_the_only_one_that_it_is_made_for() -> None:
    rng = np.random.default_rng(1)
    rare, common = np.arange(80) < 6, rng.random((80, 4)) < 0.5
    labels = np.concatenate([rare[:, None], common], axis=1).astype(np.int8)
    table = score_predictions(rng.normal(size=(80, 5)), labels, np.arange(80), list("abcde"), num_resamples=50)
    assert [each.auroc.method for each in table.findings.values()] == [BCA, *[PERCENTILE] * 4]
    assert table.macro_auroc.method == PERCENTILE
    assert not math.isnan(table.macro_auroc.lo)


def test_means_over_findings_and_differences_have_percentiles_of_few_subjects_too() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat((np.arange(40) < 6)[:, None], 3, axis=1).astype(np.int8)
    ours, theirs = rng.normal(size=(2, 40, 3)) + labels
    table = score_predictions(ours, labels, np.arange(40), list("abc"), num_resamples=50)
    _, samples = resample_metrics(ours, labels, np.arange(40), list("abc"), num_resamples=50)
    assert {each.auroc.method for each in table.findings.values()} == {BCA}
    assert table.macro_auroc.method == PERCENTILE
    assert (table.macro_auroc.lo, table.macro_auroc.hi) == tuple(np.quantile(samples[0, 0], [0.025, 0.975]))
    one = score_predictions(ours[:, :1], labels[:, :1], np.arange(40), ["a"], num_resamples=50)
    assert one.macro_auroc == one.findings["a"].auroc, "the mean of one finding is its number"
    gap = compare_predictions(ours, theirs, labels, np.arange(40), list("abc"), num_resamples=50)
    assert {each.method for each in gap.intervals} == {PERCENTILE}
