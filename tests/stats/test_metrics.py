"""AUROC and average precision against an obvious O(n^2) definition and scikit-learn."""

import math
import os
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrssl.core.errors import DataError
from cxrssl.stats import metrics
from cxrssl.stats.metrics import (
    auroc,
    auroc_of_counts,
    auroc_resampled,
    average_precision,
    average_precision_resampled,
    score_resamples,
)

NUM_CASES = int(os.environ.get("CXRSSL_FUZZ_CASES", "1000"))
FIRST_SEED = int(os.environ.get("CXRSSL_FUZZ_SEED", "0"))


def random_cases() -> Iterator[tuple[int, np.ndarray, np.ndarray, np.random.Generator]]:
    """(seed, scores, labels, generator): tiny to 60 films, many or no ties, often one class only."""
    for seed in range(FIRST_SEED, FIRST_SEED + NUM_CASES):
        rng = np.random.default_rng(seed)
        num_films = int(rng.choice([1, 2, 3, 5, 20, 60]))
        scores = rng.normal(size=num_films)
        if rng.random() < 0.6:
            scores = scores.round(int(rng.integers(0, 2)))
        if rng.random() < 0.3:
            scores = scores.astype(np.float32)
        labels = (rng.random(num_films) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])).astype(rng.choice(["int8", "int64"]))
        yield seed, scores, labels, rng


def slow_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    pairs = [(p, n) for p in scores[labels == 1] for n in scores[labels == 0]]
    if not pairs:
        return math.nan
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def slow_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    total, recall_before = 0.0, 0.0
    if not (labels == 1).any():
        return math.nan
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        recall = (labels[called] == 1).sum() / (labels == 1).sum()
        total += (recall - recall_before) * (labels[called] == 1).sum() / called.sum()
        recall_before = recall
    return float(total)


def test_both_metrics_equal_the_slow_definition_and_scikit_learn() -> None:
    num_defined = 0
    for seed, scores, labels, _ in random_cases():
        area, precision = auroc(scores, labels), average_precision(scores, labels)
        assert area == pytest.approx(slow_auroc(scores, labels), abs=1e-12, nan_ok=True), f"seed {seed}"
        assert precision == pytest.approx(slow_average_precision(scores, labels), abs=1e-12, nan_ok=True), (
            f"seed {seed}"
        )
        if len(set(labels.tolist())) == 2:
            assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12), f"seed {seed}"
            assert precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12), f"seed {seed}"
            num_defined += 1
    assert num_defined > NUM_CASES // 4


def test_resampled_metrics_equal_scikit_learn_with_weights() -> None:
    """A film that is drawn twice weighs twice; one that is not drawn weighs nothing."""
    num_defined = 0
    for seed, scores, labels, rng in random_cases():
        counts = rng.integers(0, 4, size=(1, len(scores))).astype(np.uint16)
        (area,), (precision,) = score_resamples(scores, labels, counts)
        weights = counts[0].astype(np.float64)
        is_defined = len(set(labels[weights > 0].tolist())) == 2
        assert math.isnan(area) != is_defined, f"seed {seed}"
        if is_defined:
            expected = roc_auc_score(labels, scores, sample_weight=weights)
            assert area == pytest.approx(expected, abs=1e-12), f"seed {seed}"
            expected = average_precision_score(labels, scores, sample_weight=weights)
            assert precision == pytest.approx(expected, abs=1e-12), f"seed {seed}"
            num_defined += 1
    assert num_defined > NUM_CASES // 4


def test_area_from_counts_by_value_is_that_of_the_films() -> None:
    for seed, scores, labels, _ in random_cases():
        values = np.unique(scores)
        pos, neg = ((values[:, None] == scores[labels == wanted]).sum(axis=1)[:, None] for wanted in (1, 0))
        (area,) = auroc_of_counts(pos, neg)
        assert area == pytest.approx(auroc(scores, labels), abs=0, nan_ok=True), f"seed {seed}"


def test_resampled_metrics_equal_the_plain_ones_on_repeated_rows() -> None:
    for seed, scores, labels, rng in random_cases():
        counts = rng.integers(0, 4, size=(3, len(scores))).astype(np.uint16)
        areas, precisions = auroc_resampled(scores, labels, counts), average_precision_resampled(scores, labels, counts)
        for resample, repeats in enumerate(counts):
            repeated = np.repeat(scores, repeats), np.repeat(labels, repeats)
            assert areas[resample] == pytest.approx(slow_auroc(*repeated), abs=1e-12, nan_ok=True), f"seed {seed}"
            expected = slow_average_precision(*repeated)
            assert precisions[resample] == pytest.approx(expected, abs=1e-12, nan_ok=True), f"seed {seed}"


def test_counts_of_one_give_the_plain_value_in_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=200).round(1), rng.integers(0, 2, 200)
    counts = np.ones((7, 200), dtype=np.uint16)
    whole = score_resamples(scores, labels, counts)
    monkeypatch.setattr(metrics, "MAX_CHUNK_BYTES", 2 * (16 * 201 + 80 * (int(labels.sum()) + 1)))
    chunked = score_resamples(scores, labels, counts)
    assert whole[0].tolist() == chunked[0].tolist() == [auroc(scores, labels)] * 7
    assert whole[1].tolist() == chunked[1].tolist() == [average_precision(scores, labels)] * 7


def test_chunks_of_different_resamples_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    scores, labels, counts = rng.normal(size=30), rng.integers(0, 2, 30), rng.integers(0, 3, (11, 30))
    whole = score_resamples(scores, labels, counts)
    monkeypatch.setattr(metrics, "MAX_CHUNK_BYTES", 1)
    np.testing.assert_array_equal(whole, score_resamples(scores, labels, counts))


def test_order_of_films_does_not_change_one_bit() -> None:
    rng = np.random.default_rng(3)
    scores, labels, counts = rng.normal(size=500).round(1), rng.integers(0, 2, 500), rng.integers(0, 3, (5, 500))
    order = rng.permutation(500)
    before = score_resamples(scores, labels, counts)
    np.testing.assert_array_equal(before, score_resamples(scores[order], labels[order], counts[:, order]))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_not_defined_rather_than_a_half(label: int) -> None:
    assert math.isnan(auroc([0.1, 0.9], [label, label]))
    assert math.isnan(average_precision([0.1, 0.9], [label, label])) == (label == 0)


def test_no_films_are_not_defined() -> None:
    assert math.isnan(auroc([], np.array([], dtype=np.int8)))
    assert math.isnan(average_precision([], np.array([], dtype=np.int8)))


def test_resample_that_misses_a_class_is_not_defined() -> None:
    counts = np.array([[1, 1], [0, 2], [2, 0], [0, 0]], dtype=np.uint16)
    areas, precisions = score_resamples([0.1, 0.9], [0, 1], counts)
    assert areas[0] == 1.0
    assert np.isnan(areas[1:]).all()
    assert np.isnan(precisions).tolist() == [False, False, True, True]


def test_rows_labelled_minus_one_do_not_count() -> None:
    scores, labels = np.array([0.9, 0.2, 0.6, 0.4]), np.array([-1, 0, 1, -1])
    assert auroc(scores, labels) == auroc(scores[1:3], labels[1:3])
    assert average_precision(scores, labels) == average_precision(scores[1:3], labels[1:3])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_score_that_is_not_finite_is_refused_with_its_place(bad: float) -> None:
    with pytest.raises(DataError, match=r"1 of 3 values are not finite \(first: \[1\]\)"):
        auroc([0.1, bad, 0.3], [0, 1, 0])


def test_label_that_is_none_of_the_three_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="labels are"):
        auroc([0.1, 0.2], [0, 2])


def test_shuffled_labels_give_an_area_of_one_half() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(3000) < 0.2).astype(int)
    scores = labels + rng.normal(size=3000)
    assert auroc(scores, labels) > 0.7
    assert np.mean([auroc(scores, rng.permutation(labels)) for _ in range(20)]) == pytest.approx(0.5, abs=0.02)
