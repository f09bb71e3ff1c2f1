"""Differences of arms over seeds: quantiles from tables, coverage by simulation, and one seed."""

import math

import numpy as np
import pytest

from cxrssl.stats.seeds import compare_seeds, t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062047), (2, 4.3026527), (2.5, 3.5746548), (5, 2.5705818), (30, 2.0422725), (math.inf, 1.9599640)],
)
def test_quantiles_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=2e-6)


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


def test_one_seed_has_the_interval_of_its_patients_alone() -> None:
    resamples = np.linspace(-0.01, 0.05, 1001)[None]
    found = compare_seeds(np.array([0.72]), np.array([0.70]), resamples, np.zeros((1, 1001)))
    assert found.num_seeds == 1
    assert (found.value, found.lo, found.hi) == pytest.approx((0.02, -0.0085, 0.0485))
    assert math.isnan(found.sd_seeds)
    assert not found.excludes_zero


def test_what_is_defined_in_no_resample_has_no_interval() -> None:
    found = compare_seeds(np.array([0.7, 0.8]), np.array([0.6, 0.6]), np.full((2, 5), np.nan), np.zeros((2, 5)))
    assert found.value == pytest.approx(0.15)
    assert math.isnan(found.lo)
    assert found.to_dict()["lo"] is None
