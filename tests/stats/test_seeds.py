"""Differences of arms over seeds: quantiles from tables, coverage by simulation, and one seed."""

import math

import numpy as np
import pytest

from cxrssl.stats.bca import choose_interval
from cxrssl.stats.resample import BCA, STUDENT
from cxrssl.stats.seeds import LeftOut, average_seeds, compare_seeds, compare_unpaired
from cxrssl.stats.student import p_of_t, t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062047), (2, 4.3026527), (2.5, 3.5746548), (5, 2.5705818), (30, 2.0422725), (math.inf, 1.9599640)],
)
def test_quantiles_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [(12.7062047, 1, 0.05), (4.3026527, 2, 0.05), (2.2281389, 10, 0.05), (1.9599640, math.inf, 0.05),
     (31.5990546, 2, 1e-3), (4.5868939, 10, 1e-3), (0.0, 3, 1.0), (-2.0422725, 30, 0.05), (1.9599664, 9e5, 0.05)],
)  # fmt: skip
def test_p_values_are_those_of_the_tables(t: float, freedom: float, p: float) -> None:
    assert p_of_t(t, freedom) == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize(("sd_seeds", "sd_subjects"), [(0.02, 0.002), (0.01, 0.01), (0.002, 0.02)])
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_intervals_cover_the_truth_whatever_dominates(num_seeds: int, sd_seeds: float, sd_subjects: float) -> None:
    """A true difference of .01, an error of the seed and one of the subjects, which a resample shows around itself."""
    rng, num_worlds, covered = np.random.default_rng(num_seeds), 800, 0
    for _ in range(num_worlds):
        seeds = 0.01 + rng.normal(0, sd_seeds, num_seeds) + rng.normal(0, sd_subjects)
        resamples = seeds[:, None] + rng.normal(0, sd_subjects, 200)
        found = compare_seeds(seeds, np.zeros(num_seeds), resamples, np.zeros((num_seeds, 200)))
        covered += found.lo <= 0.01 <= found.hi
    assert 0.92 < covered / num_worlds < 0.99


def test_resampled_seeds_alone_would_cover_far_less() -> None:
    """Planted: the interval that takes three seeds' spread for that of many."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(800):
        seeds = rng.normal(0, 0.02, 3)
        half = 1.96 * seeds.std(ddof=0) / math.sqrt(3)
        covered += abs(seeds.mean()) <= half
    assert covered / 800 < 0.85


@pytest.mark.parametrize(("sd_a", "sd_b"), [(0.01, 0.01), (0.02, 0.002)])
def test_intervals_of_arms_with_other_seeds_cover_the_truth(sd_a: float, sd_b: float) -> None:
    """Four seeds against three; the subjects move both arms alike, but for an error of their own."""
    rng, num_worlds, covered = np.random.default_rng(1), 800, 0
    for _ in range(num_worlds):
        a, b = 0.01 + rng.normal(0, sd_a, 4) + rng.normal(0, 0.005), rng.normal(0, sd_b, 3)
        resamples = a[:, None] + rng.normal(0, 0.005, 200)
        found = compare_unpaired(a, b, resamples, np.repeat(b[:, None], 200, axis=1))
        covered += found.lo <= 0.01 <= found.hi
    assert 0.92 < covered / num_worlds < 0.995


def test_an_arm_of_one_seed_leaves_the_interval_of_the_patients_alone() -> None:
    a_R = np.linspace(-0.01, 0.05, 1001)
    found = compare_unpaired(np.array([0.70, 0.74]), np.array([0.70]), np.stack([a_R, a_R]), np.zeros((1, 1001)))
    assert (found.value, found.lo, found.hi) == pytest.approx((0.02, -0.0085, 0.0485))
    assert found.says_nothing_about_method
    assert found.by_seed == ()


def test_a_mean_is_a_difference_to_nothing() -> None:
    rng = np.random.default_rng(0)
    a_S, a_SR = rng.normal(0.7, 0.01, 3), rng.normal(0.7, 0.02, (3, 100))
    assert average_seeds(a_S, a_SR) == compare_seeds(a_S, np.zeros(3), a_SR, np.zeros((3, 100)))


def test_a_mean_that_rests_on_one_subject_has_no_interval_and_on_nine_is_marked() -> None:
    rng = np.random.default_rng(0)
    mean = average_seeds(rng.normal(0.7, 0.01, 3), rng.normal(0.7, 0.02, (3, 100)))
    assert mean.counted(1).interval.mark == "no interval"
    assert mean.counted(9).interval.mark == "few"
    assert mean.counted(30).interval.mark == ""


def test_one_seed_has_the_interval_of_its_patients_alone() -> None:
    resamples = np.linspace(-0.01, 0.05, 1001)[None]
    found = compare_seeds(np.array([0.72]), np.array([0.70]), resamples, np.zeros((1, 1001)))
    assert found.num_seeds == 1
    assert (found.value, found.lo, found.hi) == pytest.approx((0.02, -0.0085, 0.0485))
    assert math.isnan(found.sd_seeds)
    assert not found.excludes_zero


def test_one_seed_of_few_subjects_has_their_corrected_interval() -> None:
    rng = np.random.default_rng(0)
    resamples, without = rng.beta(8, 2, (1, 500)), rng.beta(20, 3, 12)
    found = average_seeds(np.array([0.85]), resamples, left_out=LeftOut(without, 12))
    assert found.counted(12).interval == choose_interval("auroc", 0.85, resamples[0], without, 12)
    assert found.interval.method == BCA
    assert found.to_dict()["method"] == BCA
    assert "method" not in average_seeds(np.array([0.85]), resamples).to_dict()
    many = average_seeds(np.array([0.85, 0.8]), np.repeat(resamples, 2, axis=0), left_out=LeftOut(without, 12))
    assert many.interval.method == STUDENT


def test_what_is_defined_in_no_resample_has_no_interval() -> None:
    found = compare_seeds(np.array([0.7, 0.8]), np.array([0.6, 0.6]), np.full((2, 5), np.nan), np.zeros((2, 5)))
    assert found.value == pytest.approx(0.15)
    assert math.isnan(found.lo)
    assert found.to_dict()["lo"] is None
