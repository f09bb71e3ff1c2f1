"""Scores of groups: those of their films alone, gaps to the rest on the same resamples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrssl.stats.metrics import auroc
from cxrssl.stats.resample import BCA, PERCENTILE
from cxrssl.stats.scores import score_predictions
from cxrssl.stats.subgroups import MACRO, score_subgroup

rng = np.random.default_rng(0)
NUM = 600
SUBJECTS = np.repeat(np.arange(NUM // 2), 2)
GROUP = SUBJECTS % 3 == 0
LABELS = rng.integers(-1, 2, (NUM, 2)).astype(np.int8)
LABELS[:, 1] = np.where(GROUP, 0, LABELS[:, 1])
SCORES = rng.normal(size=(NUM, 2)) + np.where(GROUP, 0.2, 2.0)[:, None] * (LABELS == 1)


def test_a_group_is_scored_as_its_films_alone_and_its_gap_is_to_the_rest() -> None:
    macro, first, second = score_subgroup(SCORES, LABELS, SUBJECTS, ["A", "B"], (GROUP, ~GROUP), num_resamples=100)
    own, rest = (auroc(SCORES[films, 0], LABELS[films, 0]) for films in (GROUP, ~GROUP))
    assert first.auroc.value == pytest.approx(own)
    assert first.gap.value == pytest.approx(own - rest)
    assert first.gap.hi < 0, "a planted gap is found"
    assert (first.num_films, first.num_subjects) == (
        int((LABELS[GROUP, 0] >= 0).sum()),
        len(set(SUBJECTS[GROUP & (LABELS[:, 0] >= 0)])),
    )
    assert (first.num_pos_subjects, first.num_neg_subjects) == tuple(
        len(set(SUBJECTS[GROUP & (LABELS[:, 0] == value)])) for value in (1, 0)
    )
    assert math.isnan(second.auroc.value), "the group has one class"
    assert math.isnan(second.gap.value)
    assert (macro.finding, macro.auroc.value, macro.gap.value) == (MACRO, first.auroc.value, first.gap.value)
    assert (macro.num_films, macro.num_subjects) == (GROUP.sum(), 100)


@pytest.mark.parametrize(("num_pos", "method"), [(NUM, PERCENTILE), (8, BCA)])
def test_a_group_of_all_films_has_the_usual_interval_and_no_gap(num_pos: int, method: str) -> None:
    everyone, labels = np.ones(NUM, bool), np.where(SUBJECTS[:, None] < num_pos, LABELS, np.minimum(LABELS, 0))
    _, first, _ = score_subgroup(SCORES, labels, SUBJECTS, ["A", "B"], (everyone, ~everyone), num_resamples=100)
    usual = score_predictions(SCORES, labels, SUBJECTS, ["A", "B"], num_resamples=100).findings["A"]
    assert (first.auroc.method, usual.auroc.method) == (method, method)
    for name in ("value", "lo", "hi"):
        assert getattr(first.auroc, name) == pytest.approx(getattr(usual.auroc, name), abs=1e-12)
    assert first.gap.mark == "not defined"


def test_with_folds_a_film_is_ranked_within_its_fold() -> None:
    fold = SUBJECTS % 2
    shifted = SCORES + 100.0 * fold[:, None]
    plain, moved = (
        score_subgroup(each, LABELS, SUBJECTS, ["A", "B"], (GROUP, ~GROUP), num_resamples=20, fold_N=fold)[1]
        for each in (SCORES, shifted)
    )
    assert moved.auroc.value == pytest.approx(plain.auroc.value)
    assert moved.gap.lo == pytest.approx(plain.gap.lo)


def test_the_mean_of_one_finding_has_its_interval() -> None:
    few = np.where(SUBJECTS[:, None] < 30, LABELS, np.minimum(LABELS, 0))[:, :1]
    macro, first = score_subgroup(SCORES[:, :1], few, SUBJECTS, ["A"], (GROUP, ~GROUP), num_resamples=50)
    assert (macro.auroc, macro.auroc.method) == (first.auroc, BCA)
    assert macro.gap == first.gap
