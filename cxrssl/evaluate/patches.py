"""Probes that see patches: for each finding a score of every patch, pooled to one of the film by attention or maximum.

In: patch tokens and labels of train and val films. Out: PatchProbe. Never: the tokens of all films in memory.

Suffix letters: N films, B films of a batch, P patches, D width, L findings.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrssl.core.errors import DataError
from cxrssl.evaluate.probe import count_scored_subjects, prevalence_logit
from cxrssl.records.reading import Pooling
from cxrssl.stats.metrics import Floats, auroc
from cxrssl.stats.resample import MIN_SUBJECTS

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse L2 strengths, ascending; each fit starts where the one before ended."""
NUM_STEPS = 40
"""Iterations of L-BFGS at each strength."""
BATCH_VALUES = 2**23
"""Values of tokens at once: 32 MiB."""
Labels = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """Patch tokens of some films, read from the disk when they are needed."""

    values_NPD: npt.NDArray[np.float16]
    """Of all films of the cohort, mapped into memory."""
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Films, and features of a patch."""
        return len(self), self.values_NPD.shape[2]

    def __getitem__(self, places: npt.NDArray[np.int64]) -> Tokens:
        return Tokens(self.values_NPD, self.rows[places])

    def batches(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the films in order, [B, P, D]. Raises: DataError for a value that is not finite."""
        size = max(1, BATCH_VALUES // (self.values_NPD.shape[1] * self.values_NPD.shape[2]))
        for start in range(0, len(self), size):
            batch = slice(start, min(start + size, len(self)))
            tokens_BPD = torch.from_numpy(self.values_NPD[self.rows[batch]].astype(np.float32))
            if not bool(torch.isfinite(tokens_BPD).all()):
                raise DataError("patch tokens are not finite in half precision")
            yield batch, tokens_BPD


@dataclasses.dataclass(frozen=True, eq=False)
class PatchProbe:
    """A fitted probe of patches z, standardised over all patches of the train films.

    `max`: the logit is max_p(w z_p) + b. `attention`: sum_p a_p (w z_p) + b, with a = softmax_p(q z_p / sqrt(D)).
    """

    pooling: Pooling
    query_LD: Tensor
    weight_LD: Tensor
    """0 where a finding is not fitted."""
    bias_L: Tensor
    """Where a finding is not fitted: the logit of its prevalence in train, which may be infinite."""
    mean_D: Floats
    scale_D: Floats
    strength: float
    """Inverse L2 strength of all findings; nan where none is fitted."""
    is_fitted_L: npt.NDArray[np.bool_]
    is_judged_L: npt.NDArray[np.bool_]

    def predict_logits(self, tokens: Tokens) -> Floats:
        """Log odds of each finding, [N, L]. Raises: DataError if a token is not finite."""
        logits_NL = np.empty((len(tokens), len(self.is_fitted_L)))
        mean_D, scale_D = (torch.from_numpy(each).float() for each in (self.mean_D, self.scale_D))
        with torch.no_grad():
            for batch, tokens_BPD in tokens.batches():
                z_BPD = (tokens_BPD - mean_D) / scale_D
                pooled_BL = pool_scores(z_BPD, self.query_LD, self.weight_LD, self.pooling)
                logits_NL[batch] = (pooled_BL + self.bias_L).double().numpy()
        return logits_NL


def pool_scores(z_BPD: Tensor, query_LD: Tensor, weight_LD: Tensor, pooling: Pooling) -> Tensor:
    """Return one score a film and finding, [B, L].

    Source: Ilse, Tomczak & Welling 2018, equation 8, with a query a finding and no hidden layer, for attention;
        Wang et al. 2017 (ChestX-ray8), section 4.2, for the maximum over places.
    """
    score_BPL = z_BPD @ weight_LD.T
    if pooling == "max":
        return score_BPL.amax(dim=1)
    attention_BPL = (z_BPD @ query_LD.T / math.sqrt(z_BPD.shape[2])).softmax(dim=1)
    return (attention_BPL * score_BPL).sum(dim=1)


def fit_patch_probe(
    train: Tokens,
    train_y_NL: Labels,
    val: Tokens,
    val_y_NL: Labels,
    val_subject_ids_N: npt.NDArray[Any],
    pooling: Pooling,
    strengths: Sequence[float] = STRENGTHS,
) -> PatchProbe:
    """Return the probe with the one strength of highest mean val AUROC over findings, of equals the smallest.

    -1 is ignored. A finding takes part in the choice as in the linear probe. The loss is the sum over films plus
    (|w|^2 + |q|^2) / (2 C), as scikit-learn counts C. It is not convex: what is returned is where a fixed number of
    full-batch L-BFGS steps end, from all patches alike (q = 0, w = 0) and the strongest penalty on. Nothing is drawn.

    Raises: DataError if there is no train row, or a token is not finite.
    """
    if not len(train):
        raise DataError("there is no train row to fit the probe on")
    mean_D, scale_D = _fit_scaling(train)
    is_fitted_L = (train_y_NL == 1).any(axis=0) & (train_y_NL == 0).any(axis=0)
    num, width = len(is_fitted_L), len(mean_D)
    fitted = PatchProbe(
        pooling,
        torch.zeros(num, width),
        torch.zeros(num, width),
        torch.from_numpy(prevalence_logit(train_y_NL)).float(),
        mean_D,
        scale_D,
        math.nan,
        is_fitted_L,
        np.zeros(num, np.bool_),
    )
    if not is_fitted_L.any():
        return fitted
    may_judge_L = is_fitted_L & (count_scored_subjects(val_y_NL, val_subject_ids_N) >= MIN_SUBJECTS)
    probes, aurocs = [], []
    for strength in sorted(strengths):
        fitted = _fit_from(fitted, train, train_y_NL, strength)
        probes.append(fitted)
        aurocs.append(_measure(fitted, val, val_y_NL) if len(val) else np.full(num, np.nan))
    aurocs_SL = np.stack(aurocs)
    is_judged_L = may_judge_L & ~np.isnan(aurocs_SL).any(axis=0)
    place = (len(probes) - 1) // 2
    if is_judged_L.any():
        place = int(np.argmax(aurocs_SL[:, is_judged_L].mean(axis=1)))
    return dataclasses.replace(probes[place], is_judged_L=is_judged_L)


def _fit_from(start: PatchProbe, train: Tokens, labels_NL: Labels, strength: float) -> PatchProbe:
    """Return the probe of a strength, fitted from where another one is."""
    fitted_L = torch.from_numpy(start.is_fitted_L)
    columns = np.flatnonzero(start.is_fitted_L)
    known_NF = torch.from_numpy((labels_NL[:, columns] >= 0).astype(np.float32))
    truth_NF = torch.from_numpy((labels_NL[:, columns] == 1).astype(np.float32))
    mean_D, scale_D = (torch.from_numpy(each).float() for each in (start.mean_D, start.scale_D))
    parts = [each[fitted_L].clone().requires_grad_(True) for each in (start.query_LD, start.weight_LD, start.bias_L)]
    query_FD, weight_FD, bias_F = parts
    solver = torch.optim.LBFGS(
        parts, max_iter=NUM_STEPS, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-5,
        tolerance_change=1e-9,
    )  # fmt: skip

    def compute_loss() -> Tensor:
        solver.zero_grad()
        # Per film, so that steps are of one size whatever the number of films.
        loss = (query_FD.square().sum() + weight_FD.square().sum()) / (2 * strength * len(train))
        loss.backward()  # type: ignore[no-untyped-call]
        total = loss.detach()
        for batch, tokens_BPD in train.batches():
            logits_BF = pool_scores((tokens_BPD - mean_D) / scale_D, query_FD, weight_FD, start.pooling) + bias_F
            each_BF = torch.nn.functional.binary_cross_entropy_with_logits(logits_BF, truth_NF[batch], reduction="none")
            part = (each_BF * known_NF[batch]).sum() / len(train)
            part.backward()  # type: ignore[no-untyped-call]
            total = total + part.detach()
        return total

    solver.step(compute_loss)  # type: ignore[no-untyped-call]
    if not all(bool(torch.isfinite(each).all()) for each in parts):
        raise DataError("the probe of patches does not converge")
    full = [each.clone() for each in (start.query_LD, start.weight_LD, start.bias_L)]
    for whole, part in zip(full, parts, strict=True):
        whole[fitted_L] = part.detach()
    query_LD, weight_LD, bias_L = full
    return dataclasses.replace(start, query_LD=query_LD, weight_LD=weight_LD, bias_L=bias_L, strength=float(strength))


def _measure(probe: PatchProbe, tokens: Tokens, labels_NL: Labels) -> Floats:
    """AUROC of each finding, nan where it is not fitted or a class is absent."""
    logits_NL = probe.predict_logits(tokens)
    aurocs_L = np.full(len(probe.is_fitted_L), np.nan)
    for finding in np.flatnonzero(probe.is_fitted_L):
        aurocs_L[finding] = auroc(logits_NL[:, finding], labels_NL[:, finding])
    return aurocs_L


def _fit_scaling(tokens: Tokens) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature over all patches; 1 where it is constant."""
    total_D = square_D = 0.0
    num = 0
    for _, tokens_BPD in tokens.batches():
        values = tokens_BPD.double().flatten(0, 1).numpy()
        total_D, square_D, num = total_D + values.sum(axis=0), square_D + (values**2).sum(axis=0), num + len(values)
    mean_D = np.asarray(total_D) / num
    scale_D = np.sqrt(np.maximum(np.asarray(square_D) / num - mean_D**2, 0.0))
    return mean_D, np.where(scale_D > 1e-6, scale_D, 1.0)
