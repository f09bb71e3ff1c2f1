"""t-SNE: points in the plane whose neighbours are those of points in many dimensions.

In: features of up to a few thousand points. Out: places. Never: a distance between clusters that means anything.

Suffix letters: N points, D dimensions.
"""

from __future__ import annotations

import numpy as np

from cxrssl.stats.metrics import Floats

PERPLEXITY = 30.0
EXAGGERATION, NUM_EXAGGERATED, NUM_STEPS = 12.0, 250, 750
START_SD = 1e-4
MIN_GAIN = 0.01
NUM_HALVINGS, TINY = 50, 1e-300


def place_points(features_ND: Floats, perplexity: float = PERPLEXITY) -> Floats:
    """Return places [N, 2], exact t-SNE from the first two principal components; equal input gives equal places.

    Perplexity is at most a third of the other points.

    Source: van der Maaten & Hinton 2008 (JMLR 9:2579), equations 1 to 5, momentum .5 and then .8, gains of each place;
    start and learning rate of Kobak & Berens 2019 (Nat Commun 10:5416), a rate of N / exaggeration.
    """
    num = len(features_ND)
    if num < 4:
        return np.zeros((num, 2))
    centred_ND = features_ND.astype(np.float64) - features_ND.mean(axis=0)
    shared_NN = _join(_squares(centred_ND), min(perplexity, (num - 1) / 3))
    places_N2 = _start(centred_ND)
    velocity_N2, gains_N2 = np.zeros_like(places_N2), np.ones_like(places_N2)
    rate = max(num / EXAGGERATION / 4, 50.0)
    for step in range(NUM_STEPS):
        is_early = step < NUM_EXAGGERATED
        slope_N2 = find_slope(shared_NN * EXAGGERATION if is_early else shared_NN, places_N2)
        is_turning = np.sign(slope_N2) != np.sign(velocity_N2)
        gains_N2 = np.maximum(np.where(is_turning, gains_N2 + 0.2, gains_N2 * 0.8), MIN_GAIN)
        velocity_N2 = (0.5 if is_early else 0.8) * velocity_N2 - rate * gains_N2 * slope_N2
        places_N2 = places_N2 + velocity_N2
        places_N2 -= places_N2.mean(axis=0)
    return places_N2


def find_slope(shared_NN: Floats, places_N2: Floats) -> Floats:
    """Return the gradient of the divergence of the places from the shared probabilities (equation 5)."""
    near_NN = 1.0 / (1.0 + _squares(places_N2))
    np.fill_diagonal(near_NN, 0.0)
    pull_NN = (shared_NN - near_NN / near_NN.sum()) * near_NN
    return np.asarray(4.0 * (pull_NN.sum(axis=1)[:, None] * places_N2 - pull_NN @ places_N2))


def measure_divergence(shared_NN: Floats, places_N2: Floats) -> float:
    """Return what t-SNE makes small: the Kullback-Leibler divergence of the places from the shared probabilities."""
    near_NN = 1.0 / (1.0 + _squares(places_N2))
    np.fill_diagonal(near_NN, 0.0)
    is_there = shared_NN > 0
    shown_NN = near_NN / near_NN.sum()
    return float((shared_NN[is_there] * np.log(shared_NN[is_there] / shown_NN[is_there])).sum())


def _start(centred_ND: Floats) -> Floats:
    left_NK, sizes_K, _ = np.linalg.svd(centred_ND, full_matrices=False)
    first_N2 = np.zeros((len(centred_ND), 2))
    num = min(2, len(sizes_K))
    first_N2[:, :num] = left_NK[:, :num] * sizes_K[:num]
    # The sign of a component is left open by its definition.
    first_N2 *= np.where(first_N2[np.abs(first_N2).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    sd = first_N2[:, 0].std()
    return np.asarray(first_N2 / sd * START_SD if sd > 0 else first_N2)


def _squares(points_ND: Floats) -> Floats:
    """Return squared distances [N, N]."""
    norms_N = np.square(points_ND).sum(axis=1)
    return np.asarray(np.maximum(norms_N[:, None] + norms_N - 2 * points_ND @ points_ND.T, 0.0))


def _join(squares_NN: Floats, perplexity: float) -> Floats:
    """Return the shared probabilities of pairs, each point's width being such that it has `perplexity` neighbours."""
    num = len(squares_NN)
    apart_NN = squares_NN / max(float(squares_NN.mean()), TINY)
    np.fill_diagonal(apart_NN, np.inf)
    apart_NN -= apart_NN.min(axis=1, keepdims=True)  # the weight of the nearest is one, whatever the width
    low_N, high_N, precision_N = np.zeros(num), np.full(num, np.inf), np.ones(num)
    for _ in range(NUM_HALVINGS):
        weights_NN = np.exp(-apart_NN * precision_N[:, None])
        given_NN = weights_NN / weights_NN.sum(axis=1, keepdims=True)
        entropy_N = -(given_NN * np.log(np.maximum(given_NN, TINY))).sum(axis=1)
        is_wide = entropy_N > np.log(perplexity)
        low_N, high_N = np.where(is_wide, precision_N, low_N), np.where(is_wide, high_N, precision_N)
        is_open = np.isinf(high_N)
        precision_N = np.where(is_open, precision_N * 2, (low_N + np.where(is_open, low_N, high_N)) / 2)
    return np.asarray((given_NN + given_NN.T) / (2 * num))
