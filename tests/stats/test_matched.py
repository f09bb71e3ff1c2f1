"""AUROC matched on strata: a confound is gone, what is true stays, and a match that is none is refused."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from cxrssl.stats.matched import Matched, _count_rarer, auroc_within, match_predictions
from cxrssl.stats.metrics import auroc, auroc_resampled
from cxrssl.stats.resample import Interval, draw_subject_counts
from cxrssl.stats.scores import score_predictions


def match_slowly(scores: Any, labels: Any, cells: Any, counts: Any) -> tuple[float, int]:
    """Compare every film that has the finding with every one that has not, in the same cell."""
    won, pairs = 0.0, 0
    for i, j in product(np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)):
        if cells[i] == cells[j]:
            pairs += counts[i] * counts[j]
            won += counts[i] * counts[j] * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
    return (won / pairs if pairs else math.nan), pairs


@pytest.mark.parametrize("seed", range(5))
def test_pairs_within_cells_are_those_of_a_slow_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, cells = rng.integers(0, 6, 40) / 3, rng.integers(0, 4, 40)
    labels, counts = rng.integers(-1, 2, 40).astype(np.int8), rng.integers(0, 3, (7, 40))
    aurocs, pairs = auroc_within(scores, labels, cells, counts)
    for r in range(7):
        value, num = match_slowly(scores, labels, cells, counts[r])
        assert aurocs[r] == pytest.approx(value, abs=1e-12, nan_ok=True)
        assert pairs[r] == num


def test_one_cell_is_the_usual_auroc() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=300), rng.integers(0, 2, 300).astype(np.int8)
    counts = draw_subject_counts(np.arange(300) // 3, 20, 0)
    aurocs, _ = auroc_within(scores, labels, np.zeros(300, np.int64), counts)
    np.testing.assert_allclose(aurocs, auroc_resampled(scores, labels, counts), rtol=1e-12)


def test_nothing_scored_is_not_defined() -> None:
    empty = np.empty(0)
    aurocs, pairs = auroc_within(empty, empty.astype(np.int8), empty.astype(np.int64), np.ones((2, 0), np.uint16))
    assert np.isnan(aurocs).all()
    assert not pairs.any()


class Films:
    """Films of which the AP ones (stratum 1) have the finding far more often; each subject has two."""

    def __init__(self, num: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.view = self.rng.integers(0, 2, num)
        self.labels = (self.rng.random(num) < np.where(self.view == 1, 0.75, 0.15)).astype(np.int8)
        self.subjects = np.repeat(np.arange(num // 2), 2)

    def match(self, scores: Any, **options: Any) -> Matched:
        (found,), _ = match_predictions(
            scores[:, None], self.labels[:, None], self.subjects, self.view, num_resamples=200, **options
        )
        return found


def test_a_planted_confound_by_view_is_gone() -> None:
    values, holds = [], []
    for seed in range(8):
        films = Films(2000, seed)
        by_view = films.view + 0.01 * films.rng.normal(size=2000)
        assert auroc(by_view, films.labels) == pytest.approx(0.8, abs=0.03)
        found = films.match(by_view)
        assert not found.is_vacuous
        values.append(found.auroc.value)
        holds.append(found.auroc.lo <= 0.5 <= found.auroc.hi)
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    assert sum(holds) >= 6


def test_a_true_signal_stays() -> None:
    films = Films(2000, 1)
    true = films.rng.normal(size=2000) + films.labels * 1.19  # AUROC .8 in each view
    found = films.match(true)
    assert found.auroc.value == pytest.approx(0.8, abs=0.03)
    assert found.auroc.lo < 0.8 < found.auroc.hi
    both = films.match(true + 3 * films.view)
    assert auroc(true + 3 * films.view, films.labels) > 0.85
    assert both.auroc.value == pytest.approx(found.auroc.value)


def test_a_match_of_few_films_is_refused_as_vacuous_with_the_share_of_its_pairs() -> None:
    films = Films(400, 2)
    films.labels = films.view.astype(np.int8)
    films.labels[:4] = 1 - films.view[:4]
    found = films.match(films.rng.normal(size=400))
    assert found.is_vacuous
    assert math.isnan(found.auroc.value)
    assert 0 < found.kept_of_expected < 0.1
    assert 0 < found.share_pairs < 0.05
    assert found.to_text() == f"vacuous, {found.share_pairs:.0%} of pairs"
    assert found.to_dict()["auroc"]["value"] is None


def test_pairs_that_share_a_few_films_rest_on_as_few() -> None:
    films = Films(400, 2)
    films.view[:] = 0
    films.labels[:] = 1
    films.labels[:6:2] = 0  # one film of each of three subjects
    assert films.match(films.rng.normal(size=400)).auroc.mark == "few"
    films.view[:200] = 1
    films.labels = np.where(films.view == 1, 1, 0).astype(np.int8)
    films.labels[[0, 2, 4]] = 0
    films.labels[[395, 397, 399]] = 1
    found = films.match(films.rng.normal(size=400))
    assert found.is_vacuous, "3 films on each side make nearly all pairs"


def test_what_strata_cost_any_finding_is_not_vacuous() -> None:
    films = Films(2000, 3)
    films.view = films.rng.integers(0, 40, 2000)
    films.labels = (films.rng.random(2000) < 0.1).astype(np.int8)
    found = films.match(films.rng.normal(size=2000))
    assert found.share_pairs < 0.03
    assert found.kept_of_expected == pytest.approx(1, abs=0.1)
    assert not found.is_vacuous


def test_a_finding_without_both_classes_is_not_defined_rather_than_vacuous() -> None:
    films = Films(40, 3)
    films.labels[:] = 0
    found = films.match(films.rng.normal(size=40))
    assert not found.is_vacuous
    assert (found.to_text(), found.to_dict()["share_pairs"]) == ("not defined", None)


def test_with_folds_pairs_are_of_one_fold_and_with_one_stratum_the_usual_number() -> None:
    films = Films(300, 4)
    fold, scores = films.subjects % 3, films.rng.normal(size=300) + films.labels
    films.view = np.zeros(300, np.int64)
    found = films.match(scores, fold_N=fold)
    usual = score_predictions(
        scores[:, None], films.labels[:, None], films.subjects, ["A"], num_resamples=200, fold_N=fold
    )
    for name in ("value", "lo", "hi"):
        assert getattr(found.auroc, name) == pytest.approx(getattr(usual.findings["A"].auroc, name), abs=1e-12)
    assert (found.share_pairs, found.kept_of_expected) == (1, 1)


def test_the_mean_is_over_findings_whose_match_is_not_vacuous() -> None:
    films = Films(600, 5)
    vacuous = films.view.astype(np.int8)
    labels = np.stack([films.labels, vacuous, films.labels], axis=1)
    scores = films.rng.normal(size=(600, 3)) + labels
    found, mean = match_predictions(scores, labels, films.subjects, films.view, num_resamples=50)
    assert [each.is_vacuous for each in found] == [False, True, False]
    assert mean.value == pytest.approx((found[0].auroc.value + found[2].auroc.value) / 2)
    _, none = match_predictions(scores[:, 1:2], labels[:, 1:2], films.subjects, films.view, num_resamples=50)
    assert isinstance(none, Interval)
    assert none.mark == "not defined"


def test_pairs_beyond_the_squares_of_int64_are_counted() -> None:
    labels = np.repeat(np.array([1, 0], np.int8), 100_000)
    assert _count_rarer(labels, np.arange(len(labels)), np.zeros(len(labels), np.int64)) == 100_000
