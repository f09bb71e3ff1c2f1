"""The tables of scores and of differences, with intervals."""

import json
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrssl.core.errors import DataError
from cxrssl.stats.delong import delong_interval
from cxrssl.stats.metrics import average_precision
from cxrssl.stats.resample import BCA, BCA_BELOW, CENTRED, PERCENTILE, draw_subject_counts
from cxrssl.stats.scores import compare_predictions, resample_metrics, score_predictions


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


def naive_interval(samples: list[float], level: float = 0.95) -> tuple[float, float]:
    """Quantiles of the values that are defined, between which it is drawn straight."""
    ranked = sorted(value for value in samples if not math.isnan(value))
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = share * (len(ranked) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ranked) - 1)
        ends.append(ranked[low] + (place - low) * (ranked[high] - ranked[low]))
    return ends[0], ends[1]


def naive_bca(value: float, samples: list[float], without: list[float]) -> tuple[float, float]:
    """Ends of the BCa interval, by the book (Efron & Tibshirani 1993, section 14.3)."""
    normal = NormalDist()
    ranked = [each for each in samples if not math.isnan(each)]
    below = sum(each < value - 1e-12 for each in ranked) + sum(abs(each - value) <= 1e-12 for each in ranked) / 2
    bias = normal.inv_cdf(below / len(ranked))
    left = [each for each in without if not math.isnan(each)]
    mean = sum(left) / len(left)
    a = sum((mean - each) ** 3 for each in left) / (6 * sum((mean - each) ** 2 for each in left) ** 1.5)
    at = [bias + normal.inv_cdf(share) for share in (0.025, 0.975)]
    lo, hi = np.quantile(ranked, [normal.cdf(bias + z / (1 - a * z)) for z in at])
    return lo, hi


def naive_metrics(probs: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """[AUROC, average precision] of scikit-learn, of each finding and last their mean over the defined ones."""
    found: list[list[float]] = []
    for column in range(labels.shape[1]):
        rows = labels[:, column] >= 0
        truth, scores = labels[rows, column], probs[rows, column]
        if len(set(truth.tolist())) == 2:
            found.append([roc_auc_score(truth, scores), average_precision_score(truth, scores)])
        else:
            found.append([math.nan, math.nan])
    defined = [each for each in found if not math.isnan(each[0])]
    return [*found, np.mean(defined, axis=0).tolist() if defined else [math.nan, math.nan]]


@pytest.mark.parametrize("seed", range(2))
def test_intervals_equal_a_naive_loop_over_the_same_resamples(seed: int) -> None:
    """Subjects drawn, their films written out one below the other, scored by scikit-learn, and sorted."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 90, 3)).round(1)
    labels, ids = rng.integers(-1, 2, (90, 3)), rng.integers(0, 40, 90)
    labels[:, 2] = np.where(ids < 6, labels[:, 2], np.minimum(labels[:, 2], 0))
    names = ["a", "b", "rare"]
    tables = [
        score_predictions(a, labels, ids, names, num_resamples=40, seed=seed),
        compare_predictions(a, b, labels, ids, names, num_resamples=40, seed=seed),
    ]

    def measure_both(films: Sequence[int]) -> list[list[list[float]]]:
        in_a, in_b = (naive_metrics(each[films], labels[films]) for each in (a, b))
        return [in_a, (np.array(in_a) - np.array(in_b)).tolist()]

    def repeat(counts: np.ndarray) -> list[int]:
        return [film for film, times in enumerate(counts) for _ in range(times)]

    drawn = [measure_both(repeat(counts)) for counts in draw_subject_counts(ids, 40, seed)]
    without = [measure_both(np.flatnonzero(ids != subject).tolist()) for subject in np.unique(ids)]
    methods = []
    for model, table in enumerate(tables):
        scores = [(each.auroc, each.auprc) for each in table.findings.values()]
        for place, pair in enumerate([*scores, (table.macro_auroc, table.macro_auprc)]):
            for metric, interval in enumerate(pair):
                samples, left = ([each[model][place][metric] for each in loop] for loop in (drawn, without))
                naive = naive_interval(samples)
                if metric == 1 and model == 0:
                    shift = interval.value - float(np.median([each for each in samples if not math.isnan(each)]))
                    naive = max(naive[0] + shift, 0.0), min(naive[1] + shift, 1.0)
                elif model == 0 and place < len(scores) and (interval.num_rarer or 0) < BCA_BELOW:
                    naive = naive_bca(interval.value, samples, left)
                assert (interval.lo, interval.hi) == pytest.approx(naive, abs=1e-12)
                assert interval.num_defined == sum(not math.isnan(each) for each in samples)
                methods.append(interval.method)
    assert {PERCENTILE, BCA, CENTRED} == set(methods)
    assert "(AUPRC centred; BCa below 15 with or without it)" in tables[0].method


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
        assert (interval.to_text(), interval.num_defined, interval.num_resamples) == ("not defined", 0, 20)
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


@pytest.mark.parametrize("num_subjects", [1, 2, 3, 9, 10])
def test_one_subject_has_no_interval_and_few_have_a_mark(num_subjects: int) -> None:
    """Case 15: six films each, with the finding and without."""
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(num_subjects), 6)
    labels = np.tile([0, 1, 0, 1, 1, 0], num_subjects)[:, None]
    a, b = rng.random((len(ids), 1)), rng.random((len(ids), 1))
    scores = score_predictions(a, labels, ids, ["Edema"], num_resamples=50)
    gap = compare_predictions(a, b, labels, ids, ["Edema"], num_resamples=50)
    mark = "no interval" if num_subjects == 1 else "few" if num_subjects < 10 else ""
    for table in (scores, gap):
        finding = table.findings["Edema"]
        assert (finding.num_pos_subjects, finding.num_neg_subjects) == (num_subjects, num_subjects)
        intervals = (finding.auroc, finding.auprc, table.macro_auroc, table.macro_auprc)
        assert [each.mark for each in intervals] == [mark] * 4
        assert all(each.has_interval == (num_subjects > 1) for each in intervals)
        assert num_subjects > 1 or not any(each.excludes_zero for each in intervals)


@pytest.mark.parametrize("is_pos_rare", [True, False])
def test_one_subject_of_a_class_among_forty_has_no_interval(is_pos_rare: bool) -> None:
    """Six films of one person with the finding, and every other person without; or the other way round."""
    ids = np.repeat(np.arange(40), 6)
    labels = ((ids == 7) == is_pos_rare).astype(np.int8)[:, None]
    probs = np.random.default_rng(1).random((240, 1))
    scores = score_predictions(probs, labels, ids, ["Edema"], num_resamples=1000)
    auroc = scores.findings["Edema"].auroc
    assert 550 < auroc.num_defined < 700
    assert auroc.to_text() == f"{auroc.value:.3f} no interval"
    assert scores.macro_auroc.mark == "no interval"


def test_a_perfect_ranking_looks_not_certain() -> None:
    labels = (np.arange(60) % 3 == 0).astype(np.int8)[:, None]
    scores = score_predictions(labels + 0.0, labels, np.arange(60), ["Edema"], num_resamples=50)
    assert scores.macro_auroc.to_text() == "1.000 no interval"


def test_a_mean_is_marked_when_a_fourth_of_its_findings_rests_on_few_subjects() -> None:
    rng = np.random.default_rng(5)
    common, rare = rng.integers(0, 2, 60), (np.arange(60) < 3).astype(int)
    for num_rare, mark in ((1, ""), (2, "few"), (8, "few")):
        labels = np.stack([rare] * num_rare + [common] * (8 - num_rare), axis=1)
        names = [f"finding {k}" for k in range(8)]
        scores = score_predictions(rng.random((60, 8)), labels, np.arange(60), names, num_resamples=50)
        assert scores.macro_auroc.mark == mark, num_rare


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
    assert comparison.findings["a"].auroc.to_text(signed=True) == "+0.000 no interval"
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


def test_with_folds_films_are_ranked_within_their_fold() -> None:
    rng = np.random.default_rng(5)
    fold, labels = rng.integers(0, 3, 90), rng.integers(0, 2, (90, 1)).astype(np.int8)
    ids, probs = np.arange(90) // 2, np.round(5 * rng.normal(size=(90, 1))) + 5 * labels
    shifted = probs + 100.0 * fold[:, None]
    scores = score_predictions(shifted, labels, ids, ["a"], num_resamples=30, fold_N=fold)
    pairs = [
        (1.0 if a > b else 0.5 if a == b else 0.0)
        for k in range(3)
        for a in probs[(fold == k) & (labels[:, 0] == 1), 0]
        for b in probs[(fold == k) & (labels[:, 0] == 0), 0]
    ]
    found = scores.findings["a"]
    assert found.auroc.value == pytest.approx(np.mean(pairs), abs=1e-12)
    rows = [np.flatnonzero(fold == k) for k in range(3)]
    num_pos = [labels[each].sum() for each in rows]
    precisions = [average_precision(probs[each, 0], labels[each, 0]) for each in rows]
    assert found.auprc.value == pytest.approx(np.average(precisions, weights=num_pos), abs=1e-12)
    assert scores == score_predictions(probs, labels, ids, ["a"], num_resamples=30, fold_N=fold)
    values, samples = resample_metrics(shifted, labels, ids, ["a"], num_resamples=30, fold_N=fold)
    assert values[0, 1] == found.auroc.value
    assert (np.quantile(samples[0, 1], 0.025), found.auroc.num_defined) == (found.auroc.lo, 30)
    worse = rng.normal(size=(90, 1))
    gap = compare_predictions(shifted, worse, labels, ids, ["a"], num_resamples=30, fold_N=fold)
    other = score_predictions(worse, labels, ids, ["a"], num_resamples=30, fold_N=fold)
    assert gap.findings["a"].auroc.value == found.auroc.value - other.findings["a"].auroc.value


def test_delongs_intervals_stand_beside_the_bootstraps_and_say_how_far_apart_they_are() -> None:
    probs, labels, ids = draw_world(0, 200, 1)
    scores = score_predictions(probs, labels, ids, ["Edema"])
    check = scores.findings["Edema"].delong
    assert check == delong_interval(probs[:, 0], labels[:, 0], ids)
    auroc = scores.findings["Edema"].auroc
    gap = max(abs(check.lo - auroc.lo), abs(check.hi - auroc.hi))
    assert scores.check_note == f"Intervals of AUROC by DeLong end within {gap:.3f} of these (Edema)."
    assert scores.to_dict()["findings"]["Edema"]["delong"]["lo"] == check.lo
    twice = score_predictions(*draw_world(0, 200, 2), ["Edema"], num_resamples=50)
    assert "DeLong, by subject (Obuchowski) end" in twice.check_note
    folds = score_predictions(probs, labels, ids, ["Edema"], num_resamples=50, fold_N=ids % 3)
    assert (folds.findings["Edema"].delong, folds.check_note) == (None, "")
    assert "delong" not in folds.to_dict()["findings"]["Edema"]


def test_one_fold_of_all_films_is_none_and_folds_of_one_class_count_for_nothing() -> None:
    rng = np.random.default_rng(6)
    labels, probs = rng.integers(0, 2, (40, 1)).astype(np.int8), rng.random((40, 1))
    alone = score_predictions(probs, labels, np.arange(40), ["a"], num_resamples=20)
    assert score_predictions(probs, labels, np.arange(40), ["a"], num_resamples=20, fold_N=np.zeros(40, int)) == alone
    more, negatives = np.concatenate([probs, np.full((9, 1), 2.0)]), np.concatenate([labels, np.zeros((9, 1), np.int8)])
    fold = np.repeat([0, 1], [40, 9])
    both = score_predictions(more, negatives, np.arange(49), ["a"], num_resamples=20, fold_N=fold)
    assert both.findings["a"].auroc.value == alone.findings["a"].auroc.value
