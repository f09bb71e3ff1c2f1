"""Simulations: how often a paired test errs, what it finds, and how often an interval holds the truth.

A few worlds in every suite; as many as promised with CXRSSL_FULL=1 (`just fuzz`). Scores are normal with variance 1, of
which `shared` is the subject's; the means of the classes lie apart as the AUROC asks.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from cxrssl.stats.power import USUAL, find_smallest_difference
from cxrssl.stats.resample import FEW_OF_MANY, FEW_OF_NUMBER
from cxrssl.stats.scores import compare_predictions, resample_metrics, score_predictions
from tests.scale import scaled
from tests.stats.coverage import METHODS, WORLDS, count_held, find_truth, measure_world

NORMAL = NormalDist()
ALIKE = 0.75
"""Correlation of the scores of two models, within a class."""


def tell(line: str) -> None:
    """Show a number that was measured (pytest -s)."""
    sys.stdout.write(f"\n{line}\n")


def shift_of(auroc: float) -> float:
    """Return how far the means of two normal scores lie apart."""
    return math.sqrt(2) * NORMAL.inv_cdf(auroc)


def draw_scores(
    rng: np.random.Generator,
    aurocs: tuple[float, ...],
    num_subjects: int,
    films_each: int,
    shared: float,
    prevalence: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of models [N, J] that rank the same subjects much alike; labels and subject_ids."""
    ids = np.repeat(np.arange(num_subjects), films_each)
    labels = (rng.random(num_subjects) < prevalence)[ids].astype(np.int8)

    def noise(num: int) -> np.ndarray:
        of_subject = rng.normal(size=(num_subjects, num))[ids]
        return math.sqrt(shared) * of_subject + math.sqrt(1 - shared) * rng.normal(size=(len(ids), num))

    scores = math.sqrt(ALIKE) * noise(1) + math.sqrt(1 - ALIKE) * noise(len(aurocs))
    return scores + labels[:, None] * np.array([shift_of(each) for each in aurocs]), labels, ids


def share_of_findings(
    aurocs: tuple[float, float], num_worlds: int, num_subjects: int, films_each: int, prevalence: float
) -> float:
    """Return in which share of worlds the interval of the difference of two models excludes zero."""
    found = 0
    for world in range(num_worlds):
        rng = np.random.default_rng(world)
        scores, labels, ids = draw_scores(rng, aurocs, num_subjects, films_each, 0.5, prevalence)
        both = scores[:, :1], scores[:, 1:]
        gap = compare_predictions(*both, labels[:, None], ids, ["a"], num_resamples=400, seed=world)
        found += gap.macro_auroc.excludes_zero
    return found / num_worlds


@pytest.mark.fuzz
def test_of_equal_models_one_in_twenty_differs() -> None:
    num_worlds = scaled(60, 500)
    share = share_of_findings((0.75, 0.75), num_worlds, 200, 2, 0.4)
    tell(f"equal models: the paired test rejects {share:.1%} of {num_worlds}")
    slack = 0.02 if num_worlds >= 500 else 0.08
    assert abs(share - 0.05) <= slack


@pytest.mark.fuzz
def test_a_planted_difference_is_found_as_often_as_the_formula_says() -> None:
    """.02 AUROC with 3,000 subjects of one film, 40 % with the finding."""
    num_worlds, planted = scaled(12, 200), 0.02
    share = share_of_findings((0.76, 0.74), num_worlds, 3000, 1, 0.4)
    expected = _predict_power(planted)
    tell(f"planted {planted}: found in {share:.1%} of {num_worlds}, the formula says {expected:.1%}")
    if num_worlds >= 200:
        assert share >= 0.80
        assert abs(share - expected) <= 0.05
    else:
        assert share >= 0.5
    assert expected >= 0.80


def _predict_power(difference: float) -> float:
    """Return the power at which the formula's smallest difference is this one, for the worlds above."""
    pos, neg = np.array([1200]), np.array([1800])
    # Areas correlate a little less than the scores within a class: Hanley & McNeil 1983, table 1, at .75 and .75.
    given = replace(USUAL, auroc=0.75, of_arms=ALIKE - 0.02)
    low, high = 0.5, 1 - 1e-9
    for _ in range(60):
        power = (low + high) / 2
        smallest = find_smallest_difference(pos, neg, 1, replace(given, power=power))
        low, high = (power, high) if smallest < difference else (low, power)
    return low


@pytest.mark.fuzz
def test_intervals_of_subjects_hold_the_truth_where_those_of_films_do_not() -> None:
    """Six films a subject, most of each score the subject's; both kinds of interval on the same films."""
    num_worlds = scaled(50, 500)
    held = np.zeros(2)
    for world in range(num_worlds):
        scores, labels, ids = draw_scores(np.random.default_rng(world), (0.8,), 150, 6, 0.8, 0.4)
        for kind, clusters in enumerate((ids, np.arange(len(ids)))):
            made = score_predictions(scores, labels[:, None], clusters, ["a"], num_resamples=400, seed=world)
            held[kind] += made.macro_auroc.lo <= 0.8 <= made.macro_auroc.hi
    of_subjects, of_films = held / num_worlds
    tell(f"95 % intervals that hold the truth: by subject {of_subjects:.1%}, by film {of_films:.1%} of {num_worlds}")
    assert abs(of_subjects - 0.95) <= (0.02 if num_worlds >= 500 else 0.09)
    assert of_films < 0.80


@pytest.mark.fuzz
def test_intervals_of_average_precision_hold_its_mean_and_their_own_value_where_percentiles_do_not() -> None:
    """Twenty findings of 5 to 20 % of 100 subjects, two films each: the bias of a mean does not average out."""
    num_worlds = scaled(40, 500)
    prevalences = np.geomspace(0.05, 0.2, 20)
    values, ends = [], []
    for world in range(num_worlds):
        rng = np.random.default_rng(world)
        drawn = [draw_scores(rng, (0.62,), 100, 2, 0.5, prevalence) for prevalence in prevalences]
        scores = np.concatenate([each[0] for each in drawn], axis=1)
        labels = np.stack([each[1] for each in drawn], axis=1)
        names, ids = [str(at) for at in range(20)], drawn[0][2]
        made = score_predictions(scores, labels, ids, names, num_resamples=300, seed=world).macro_auprc
        _, samples = resample_metrics(scores, labels, ids, names, num_resamples=300, seed=world)
        values.append(made.value)
        ends.append((made.lo, made.hi, *np.nanquantile(samples[1, 0], [0.025, 0.975])))
    value, (lo, hi, low, high) = np.array(values), np.array(ends).T
    mean = value.mean()
    held, of_percentiles = (float(np.mean((a <= mean) & (mean <= b))) for a, b in ((lo, hi), (low, high)))
    tell(f"macro AUPRC: centred intervals hold the mean in {held:.1%}, percentiles in {of_percentiles:.1%}")
    assert ((lo <= value) & (value <= hi)).all()
    assert abs(held - 0.95) <= (0.03 if num_worlds >= 500 else 0.1)
    assert of_percentiles < held


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("metric", "name", "num_subjects"),
    [("R2 of a number", "normal -0.02", FEW_OF_NUMBER), ("R2 of features", "0.3", FEW_OF_MANY)],
)
def test_centred_intervals_hold_r2_from_where_it_is_not_marked_and_percentiles_lie_below_it(
    metric: str, name: str, num_subjects: int
) -> None:
    """As many subjects as R2 needs not to be marked; protocol and further worlds are in `tests.stats.coverage`."""
    num_worlds = scaled(120, 1000)
    world = next(each for each in WORLDS if (each.metric, each.name) == (metric, name))
    held = count_held(measure_world(world, num_worlds, num_subjects), find_truth(world))
    of_percentiles, _, centred = held.truth
    shares = ", ".join(f"{method} {share:.1f} %" for method, share in zip(METHODS, held.truth, strict=True))
    tell(f"{metric} of {num_subjects} subjects, intervals that hold that of the population: {shares}")
    assert abs(centred - 92.5) <= (2.5 if num_worlds >= 1000 else 7)
    assert of_percentiles < centred
    assert held.own[2] == 100


@pytest.mark.fuzz
@pytest.mark.parametrize("metric", ["AUROC difference", "AUPRC difference", "macro AUROC difference"])
def test_intervals_of_differences_of_few_subjects_are_percentiles_as_the_others_hold_less_often(metric: str) -> None:
    """Sixty subjects, a finding in 20 %, or 14 findings of 5 to 40 %."""
    num_worlds = scaled(40, 600 if metric.startswith("A") else 300)
    world = next(each for each in WORLDS if each.metric == metric)
    held = count_held(measure_world(world, num_worlds, 60), find_truth(world))
    tell(f"{metric} of 60 subjects: {', '.join(f'{a} {b:.1f} %' for a, b in zip(METHODS, held.truth, strict=True))}")
    percentiles, bca, _ = held.truth
    assert abs(percentiles - 94) <= (3 if num_worlds >= 300 else 10)
    assert bca <= percentiles + (0 if num_worlds >= 300 else 5)
    assert held.own[0] == 100
