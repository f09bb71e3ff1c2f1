"""1,000 resamples of macro AUROC and average precision beside two peers, one core, in one run: CPU time and ratios.

43,000 films of 20,000 subjects, 14 findings of 1 to 30 %. Peers, both timed on a few resamples and scaled: rows drawn
by DataFrame.sample (of Polars) and scored by scikit-learn, as most code of the field does; and a weighted Mann-Whitney
statistic, vectorised over resamples of subjects, for AUROC alone.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", POLARS_MAX_THREADS="1")

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrssl.stats.resample import draw_subject_counts
from cxrssl.stats.scores import score_predictions

NUM_FILMS, NUM_SUBJECTS, NUM_FINDINGS, NUM_RESAMPLES = 43_000, 20_000, 14, 1000
NUM_OF_SKLEARN, NUM_OF_NUMPY = 2, 100
PREVALENCES = np.geomspace(0.01, 0.3, NUM_FINDINGS)


def draw_test_set() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [N, L] in float32, as a probe gives them, labels, subject_ids."""
    rng = np.random.default_rng(0)
    subject_ids = np.sort(rng.integers(0, NUM_SUBJECTS, NUM_FILMS))
    labels = (rng.random((NUM_FILMS, NUM_FINDINGS)) < PREVALENCES).astype(np.int8)
    return (labels + rng.normal(size=labels.shape)).astype(np.float32), labels, subject_ids


def cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def sample_and_score(scores: np.ndarray, labels: np.ndarray, num_resamples: int) -> list[tuple[float, float]]:
    """Macro AUROC and average precision of resamples of rows, scored one finding at a time by scikit-learn."""
    found = []
    columns = {f"score {k}": scores[:, k] for k in range(NUM_FINDINGS)}
    frame = pl.DataFrame({**columns, **{f"label {k}": labels[:, k] for k in range(NUM_FINDINGS)}})
    for seed in range(num_resamples):
        drawn = frame.sample(fraction=1.0, with_replacement=True, seed=seed)
        pairs = [(drawn[f"label {k}"].to_numpy(), drawn[f"score {k}"].to_numpy()) for k in range(NUM_FINDINGS)]
        areas = [roc_auc_score(*pair) for pair in pairs]
        found.append((float(np.mean(areas)), float(np.mean([average_precision_score(*pair) for pair in pairs]))))
    return found


def weigh_mann_whitney(scores: np.ndarray, labels: np.ndarray, counts_RN: np.ndarray) -> np.ndarray:
    """Macro AUROC of each resample [R]: a sort a finding, then weighted ranks of all resamples at once, in float64."""
    total_R = np.zeros(len(counts_RN))
    for k in range(NUM_FINDINGS):
        order = np.argsort(scores[:, k], kind="stable")
        ranked, is_pos = scores[order, k], labels[order, k] == 1
        weights_RN = counts_RN[:, order].astype(np.float64)
        of_neg_RN = np.where(is_pos, 0.0, weights_RN)
        below_RN = np.cumsum(of_neg_RN, axis=1)
        first = np.searchsorted(ranked, ranked[is_pos], "left")
        last = np.searchsorted(ranked, ranked[is_pos], "right") - 1
        before_RP = np.where(first > 0, below_RN[:, np.maximum(first - 1, 0)], 0.0)
        wins_RP = 0.5 * (before_RP + below_RN[:, last])
        pos_RP = weights_RN[:, is_pos]
        total_R += (pos_RP * wins_RP).sum(axis=1) / (pos_RP.sum(axis=1) * below_RN[:, -1])
    return total_R / NUM_FINDINGS


def main() -> None:
    warnings.simplefilter("ignore")
    num_resamples = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_RESAMPLES
    scores, labels, subject_ids = draw_test_set()
    names = [f"finding {k}" for k in range(NUM_FINDINGS)]
    counts_s, counts_RN = cpu_s(lambda: draw_subject_counts(subject_ids, num_resamples, 0))
    ours_s, table = cpu_s(lambda: score_predictions(scores, labels, subject_ids, names, num_resamples=num_resamples))
    loop_s, _ = cpu_s(lambda: sample_and_score(scores, labels, NUM_OF_SKLEARN))
    loop_s *= num_resamples / NUM_OF_SKLEARN
    few = min(NUM_OF_NUMPY, num_resamples)
    rank_s, areas_R = cpu_s(lambda: weigh_mann_whitney(scores, labels, counts_RN[:few]))
    rank_s *= num_resamples / few
    again = score_predictions(scores, labels, subject_ids, names, num_resamples=few)
    lo, hi = np.quantile(areas_R, [0.025, 0.975])
    gap = max(abs(again.macro_auroc.lo - lo), abs(again.macro_auroc.hi - hi))
    print(f"bootstrap, {num_resamples:,} resamples, {NUM_FILMS:,} films x {NUM_FINDINGS} findings, one core, CPU s")
    print(f"  ours, AUROC and AP {ours_s:>42.1f}   (and {counts_s:.1f} for the draws, shared by all models)")
    peers = {"DataFrame.sample, scikit-learn, both": loop_s, "weighted Mann-Whitney in numpy, AUROC": rank_s}
    for peer, peer_s in peers.items():
        print(f"  {peer:<40} {peer_s:>20.1f} {peer_s / ours_s:>8.1f}x")
    print(f"  macro AUROC {table.macro_auroc.to_text()}; ends differ from the second peer's by {gap:.1e}")


if __name__ == "__main__":
    main()
