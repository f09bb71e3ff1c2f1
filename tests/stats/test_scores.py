"""The tables of scores and of differences, with intervals."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrssl.core.errors import DataError
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import compare_predictions, score_predictions


def draw_world(
    seed: int, num_subjects: int, films_each: int, shared: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, labels, subject_ids): normal scores, means 1 apart, variance 1, `shared` of it per subject."""
    rng = np.random.default_rng(seed)
    subject_ids = np.repeat(np.arange(num_subjects), films_each)
    labels = np.repeat(rng.random(num_subjects) < 0.4, films_each).astype(np.int8)
    noise = np.sqrt(shared) * np.repeat(rng.normal(size=num_subjects), films_each)
    noise += np.sqrt(1 - shared) * rng.normal(size=len(subject_ids))
    return (labels + noise)[:, None], labels[:, None], subject_ids


def test_scores_equal_scikit_learn_on_the_scored_rows_and_account_for_every_row() -> None:
    rng = np.random.default_rng(0)
    probs, labels = rng.random((90, 2)), rng.integers(-1, 2, (90, 2)).astype(np.int8)
    scores = score_predictions(probs, labels, rng.integers(0, 30, 90), ["Edema", "Mass"], num_resamples=20)
    for column, score in enumerate(scores.findings.values()):
        is_scored = labels[:, column] >= 0
        args = labels[is_scored, column], probs[is_scored, column]
        assert score.auroc.value == pytest.approx(roc_auc_score(*args), abs=1e-12)
        assert score.auprc.value == pytest.approx(average_precision_score(*args), abs=1e-12)
        assert (score.num_scored, score.num_ignored) == (is_scored.sum(), (~is_scored).sum())
        assert score.num_scored + score.num_ignored == scores.num_films == 90
        assert score.num_pos == (labels[:, column] == 1).sum()
    assert scores.macro_auroc.value == pytest.approx(np.mean([s.auroc.value for s in scores.findings.values()]))
    assert scores.macro_auprc.value == pytest.approx(np.mean([s.auprc.value for s in scores.findings.values()]))


def test_scores_of_rows_that_are_not_scored_change_nothing() -> None:
    rng = np.random.default_rng(1)
    probs, labels = rng.random((60, 3)), rng.integers(-1, 2, (60, 3))
    subject_ids, findings = rng.integers(0, 20, 60), ["a", "b", "c"]
    garbage = np.where(labels == -1, rng.normal(size=probs.shape) * 1e6, probs)
    before = score_predictions(probs, labels, subject_ids, findings, num_resamples=50)
    assert before == score_predictions(garbage, labels, subject_ids, findings, num_resamples=50)


def test_scores_do_not_depend_on_the_order_of_films() -> None:
    rng = np.random.default_rng(2)
    probs, labels, subject_ids = rng.random((80, 2)).round(1), rng.integers(-1, 2, (80, 2)), rng.integers(0, 25, 80)
    order = rng.permutation(80)
    before = score_predictions(probs, labels, subject_ids, ["a", "b"], num_resamples=50)
    after = score_predictions(probs[order], labels[order], subject_ids[order], ["a", "b"], num_resamples=50)
    assert before == after


@pytest.mark.parametrize("label", [0, 1, -1])
def test_finding_with_one_class_is_not_defined_and_stays_out_of_the_macro(label: int) -> None:
    rng = np.random.default_rng(3)
    probs, labels = rng.random((40, 2)), np.stack([rng.integers(0, 2, 40), np.full(40, label)], axis=1)
    scores = score_predictions(probs, labels, np.arange(40), ["seen", "empty"], num_resamples=20)
    empty = scores.findings["empty"]
    assert not empty.is_defined
    for interval in (empty.auroc, empty.auprc):
        assert interval.to_dict() == {"value": None, "lo": None, "hi": None, "num_defined": 0}
    assert scores.macro_auroc == scores.findings["seen"].auroc
    assert scores.macro_auprc == scores.findings["seen"].auprc


def test_macro_of_a_resample_is_the_mean_over_the_findings_defined_in_it() -> None:
    rng = np.random.default_rng(4)
    common, rare = rng.integers(0, 2, 40), np.eye(40, dtype=int)[0]
    labels, findings = np.stack([common, rare, 1 - rare], axis=1), ["common", "rare", "nearly always"]
    scores = score_predictions(rng.random((40, 3)), labels, np.arange(40), findings, num_resamples=200)
    for finding in findings[1:]:
        row = scores.findings[finding]
        assert 90 < row.auroc.num_defined == row.auprc.num_defined < 160
    assert scores.macro_auroc.num_defined == scores.macro_auprc.num_defined == 200


def test_nothing_defined_gives_an_undefined_macro() -> None:
    scores = score_predictions(np.zeros((3, 1)), np.zeros((3, 1)), np.arange(3), ["a"], num_resamples=5)
    assert math.isnan(scores.macro_auroc.value)
    assert scores.macro_auroc.num_defined == 0


def test_score_that_is_not_finite_is_refused_by_model() -> None:
    good, bad = np.full((2, 1), 0.5), np.array([[0.1], [math.nan]])
    with pytest.raises(DataError, match=r"first: \[1, 0\].*model b"):
        compare_predictions(good, bad, np.array([[0], [1]]), np.arange(2), ["a"], num_resamples=5)


def test_model_compared_with_itself_differs_by_exactly_zero() -> None:
    probs, labels, subject_ids = draw_world(0, 30, 2)
    comparison = compare_predictions(probs, probs, labels, subject_ids, ["a"], num_resamples=50)
    assert comparison.findings["a"].auroc == Interval(0.0, 0.0, 0.0, comparison.findings["a"].auroc.num_defined)
    assert not comparison.macro_auprc.excludes_zero


def test_differences_are_paired_and_change_sign_with_the_order_of_the_models() -> None:
    probs, labels, subject_ids = draw_world(1, 150, 2)
    worse = probs + 0.3 * np.random.default_rng(5).normal(size=probs.shape)
    forth = compare_predictions(probs, worse, labels, subject_ids, ["a"], num_resamples=300)
    back = compare_predictions(worse, probs, labels, subject_ids, ["a"], num_resamples=300)
    single_a, single_b = (score_predictions(p, labels, subject_ids, ["a"], num_resamples=300) for p in (probs, worse))
    assert forth.macro_auroc.value == pytest.approx(single_a.macro_auroc.value - single_b.macro_auroc.value)
    assert forth.macro_auroc.lo == pytest.approx(-back.macro_auroc.hi)
    width = forth.macro_auroc.hi - forth.macro_auroc.lo
    assert width < 0.5 * (single_a.macro_auroc.hi - single_a.macro_auroc.lo)


def test_tables_are_ready_for_json_with_undefined_as_null() -> None:
    probs, labels = np.array([[0.1, 0.2], [0.9, 0.3]]), np.array([[0, 0], [1, 0]])
    scores = score_predictions(probs, labels, np.arange(2), ["a", "b"], num_resamples=10)
    comparison = compare_predictions(probs, probs, labels, np.arange(2), ["a", "b"], num_resamples=10)
    for table in (scores, comparison):
        row = json.loads(json.dumps(table.to_dict(), allow_nan=False))
        assert row["findings"]["b"]["auroc"]["value"] is None
        assert row["findings"]["a"]["num_pos"] == 1
        assert (row["num_films"], row["num_subjects"], row["num_resamples"], row["seed"]) == (2, 2, 10, 0)


def test_intervals_cover_the_true_area_about_as_often_as_they_say() -> None:
    true_auroc = 0.5 * (1 + math.erf(0.5))  # P(N(1, 2) > 0), both classes with variance 1
    num_covering = 0
    for seed in range(100):
        scores = score_predictions(*draw_world(seed, 80, 3, shared=0.8), ["a"], num_resamples=200, seed=seed)
        num_covering += scores.macro_auroc.lo <= true_auroc <= scores.macro_auroc.hi
    assert 87 <= num_covering <= 99


def test_resampling_films_instead_of_subjects_would_be_too_narrow() -> None:
    probs, labels, subject_ids = draw_world(3, 60, 4)
    by_subject = score_predictions(probs, labels, subject_ids, ["a"], num_resamples=300).macro_auroc
    by_film = score_predictions(probs, labels, np.arange(240), ["a"], num_resamples=300).macro_auroc
    assert by_subject.hi - by_subject.lo > 1.6 * (by_film.hi - by_film.lo)
