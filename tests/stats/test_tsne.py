"""t-SNE: its gradient, its neighbours beside those of scikit-learn, equal places for equal input."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import TSNE, trustworthiness

from cxrssl.stats.tsne import _join, _squares, find_slope, measure_divergence, place_points


def draw(num: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of three clusters in twenty dimensions, and which cluster each is of."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, num)
    return rng.normal(size=(num, 20)) + 4 * np.eye(20)[kinds], kinds


def test_the_gradient_is_that_of_the_divergence() -> None:
    rng = np.random.default_rng(1)
    shared, places = _join(_squares(rng.normal(size=(12, 5))), 3.0), rng.normal(size=(12, 2))
    slope = find_slope(shared, places)
    for place in ((0, 0), (3, 1), (11, 0)):
        moved = [places.copy(), places.copy()]
        for each, step in zip(moved, (1e-5, -1e-5), strict=True):
            each[place] += step
        numeric = (measure_divergence(shared, moved[0]) - measure_divergence(shared, moved[1])) / 2e-5
        assert slope[place] == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_shared_probabilities_add_to_one_and_have_the_perplexity() -> None:
    points, _ = draw(60)
    shared = _join(_squares(points), 10.0)
    assert shared.sum() == pytest.approx(1.0)
    assert np.array_equal(shared, shared.T)
    assert not shared.diagonal().any()


def test_neighbours_are_kept_as_well_as_by_scikit_learn() -> None:
    points, kinds = draw()
    ours = place_points(points)
    theirs = TSNE(init="pca", learning_rate="auto", method="exact", random_state=0, max_iter=750).fit_transform(points)
    assert trustworthiness(points, ours) > trustworthiness(points, theirs) - 0.02
    shared = _join(_squares(points), 30.0)
    assert measure_divergence(shared, ours) < 1.1 * measure_divergence(shared, theirs)
    nearest = np.argsort(_squares(ours) + 1e9 * np.eye(len(ours)), axis=1)[:, :5]
    assert (kinds[nearest] == kinds[:, None]).mean() > 0.95


def test_equal_features_give_equal_places() -> None:
    points, _ = draw()
    assert np.array_equal(place_points(points), place_points(points.copy()))


@pytest.mark.parametrize("num", [0, 1, 3, 4, 5])
def test_few_points_have_places(num: int) -> None:
    places = place_points(np.random.default_rng(0).normal(size=(num, 8)))
    assert places.shape == (num, 2)
    assert np.isfinite(places).all()


def test_points_that_are_all_the_same_have_places() -> None:
    assert np.isfinite(place_points(np.ones((20, 8)))).all()
