"""Fitting the probe beside scikit-learn's L-BFGS at the same strengths, one core, in one run: time, loss, memory.

250,000 films x 192 features x 14 findings x 5 strengths. The peer, at its default tolerance, is timed on a few findings
and scaled. Loss: the sum over films of the log loss, and the penalty.
"""

from __future__ import annotations

import os
import resource
import sys
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from cxrssl.evaluate.probe import fit_probe_path

NUM_FILMS, NUM_FEATURES, NUM_FINDINGS = 250_000, 192, 14
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PEER_FINDINGS = (0, 7, 13)
PREVALENCES = np.geomspace(0.01, 0.3, NUM_FINDINGS)


def draw_features(num_films: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features, as those of an encoder are, in float32; labels of a logistic model of them."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(NUM_FEATURES, NUM_FEATURES)) * np.geomspace(1, 0.02, NUM_FEATURES)
    features = np.empty((num_films, NUM_FEATURES), np.float32)
    for start in range(0, num_films, 10_000):
        rows = features[start : start + 10_000]
        rows[:] = rng.normal(size=rows.shape) @ mixing.T
    features /= features.std(axis=0)
    weights = rng.normal(size=(NUM_FEATURES, NUM_FINDINGS)) / 8
    logits = features @ weights + np.log(PREVALENCES / (1 - PREVALENCES))
    return features, (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)


def find_loss(z: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: float, strength: float) -> float:
    logits = z @ weight + bias
    return float(np.logaddexp(0, np.where(y == 1, -logits, logits)).sum() + weight @ weight / (2 * strength))


def main() -> None:
    torch.set_num_threads(1)
    num_films = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_FILMS
    features, labels = draw_features(num_films)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    path = fit_probe_path(features, labels, STRENGTHS)
    ours_s = time.process_time() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    z = (features.astype(np.float64) - path.mean_D) / path.scale_D
    peer_s, excess = 0.0, []
    for k in PEER_FINDINGS:
        for s, strength in enumerate(STRENGTHS):
            peer = LogisticRegression(C=strength, max_iter=10_000)
            started = time.process_time()
            peer.fit(z, labels[:, k])
            peer_s += time.process_time() - started
            theirs = find_loss(z, labels[:, k], peer.coef_[0], float(peer.intercept_[0]), strength)
            ours = find_loss(z, labels[:, k], path.weights_SLD[s, k], float(path.biases_SL[s, k]), strength)
            excess.append((ours - theirs) / theirs)
    peer_s *= NUM_FINDINGS / len(PEER_FINDINGS)
    shape = f"{num_films:,} films x {NUM_FEATURES} features x {NUM_FINDINGS} findings x {len(STRENGTHS)} strengths"
    print(f"probing, {shape}, one core, CPU s")
    print(f"  ours {ours_s:>30.1f}   peak memory {peak_bytes / 2**30:.2f} GiB, {before / 2**20:.2f} before the fit")
    print(
        f"  scikit-learn's L-BFGS {peer_s:>13.1f} {peer_s / ours_s:>6.1f}x, scaled from {len(PEER_FINDINGS)} findings"
    )
    print(f"  our loss minus theirs, relative: {min(excess):+.1e} to {max(excess):+.1e}")


if __name__ == "__main__":
    main()
