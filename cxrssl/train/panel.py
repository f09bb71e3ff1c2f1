"""A probe while the run goes: a few findings on a small fixed panel of films, so that a person sees whether it learns.

In: the encoder that the run is for. Out: AUROC on val films of a ridge classifier fitted on train films.
Never: a test film, or a number that steers the run. It is no result: `cxrssl probe` makes those.
Shape letters: F films to fit on, S films to score, L findings, D embedding width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.core.seed import derive_seed
from cxrssl.model.vit import encode_views
from cxrssl.stats.metrics import auroc
from cxrssl.train.feed import read_films
from cxrssl.train.plan import RunPlan
from cxrssl.views.resample import whole_views

NUM_FIT, NUM_SCORED, MAX_FINDINGS = 384, 256, 5
MIN_OF_EACH = 5
"""Films with a finding, and without it, that either part of the panel must hold."""
RIDGE = 0.1
BATCH_FILMS = 64


class Panel:
    """The films and labels of the panel; empty when the cohort has no finding that is common enough."""

    def __init__(self, plan: RunPlan, device: torch.device) -> None:
        self._plan, self._device = plan, device
        fit = _draw(plan.rows, NUM_FIT, plan)
        packed = plan.images.is_packed_N
        val = plan.cohort.rows_of("val", plan.scheme)
        scored = _draw(val[packed[val]], NUM_SCORED, plan)
        names = plan.cohort.finding_names.tolist()
        labels_NL = plan.cohort.labels(names)
        # By the rarer class, in the smaller of the two parts: an AUROC of three films says nothing.
        rarest = np.array([_rarest(labels_NL[rows]) for rows in (fit, scored)]).min(axis=0)
        chosen = [int(i) for i in np.argsort(-rarest, kind="stable")[:MAX_FINDINGS] if rarest[i] >= MIN_OF_EACH]
        self.findings = [names[i] for i in chosen]
        self._rows = np.concatenate([fit, scored])
        self._num_fit = len(fit)
        self._labels = torch.from_numpy(labels_NL[self._rows][:, chosen].astype(np.int64))

    def score(self, encoder: VisionTransformer) -> dict[str, float]:
        """Return AUROC by finding, and their mean, for the journal."""
        if not self.findings:
            return {}
        features = self._encode(encoder)
        scores = {name: self._score_one(features, number) for number, name in enumerate(self.findings)}
        mean = sum(scores.values()) / len(scores)
        return {"probe_auroc": mean, **{f"probe_auroc {name}": score for name, score in scores.items()}}

    @torch.no_grad()
    def _encode(self, encoder: VisionTransformer) -> Tensor:
        parts = []
        for first in range(0, len(self._rows), BATCH_FILMS):
            rows = self._rows[first : first + BATCH_FILMS]
            films = read_films(self._plan.images, rows, self._device, self._plan.machine.stall_s, "the panel's films")
            valid = torch.from_numpy(self._plan.images.box_N4[rows].astype(np.float32)).to(self._device)
            parts.append(encode_views(encoder, whole_views(films, valid, self._plan.recipe.views)).float().cpu())
        return torch.cat(parts).double()

    def _score_one(self, features: Tensor, finding: int) -> float:
        labels = self._labels[:, finding]
        is_fit = torch.arange(len(labels)) < self._num_fit
        fit, scored = is_fit & (labels >= 0), ~is_fit & (labels >= 0)
        # Ridge in closed form: no iteration, no learning rate, the same answer every time.
        weights = _fit_ridge(features[fit], labels[fit])
        scores = (features[scored] - features[fit].mean(dim=0)) @ weights
        # The guard, and not this, ends a run whose numbers are not finite.
        return auroc(scores.numpy(), labels[scored].numpy()) if bool(scores.isfinite().all()) else math.nan


def _fit_ridge(features_FD: Tensor, labels_F: Tensor) -> Tensor:
    """Return the weights [D] of a ridge regression of labels on features, both centred."""
    centred = features_FD - features_FD.mean(dim=0)
    wanted = labels_F.double() - labels_F.double().mean()
    gram = centred.T @ centred
    # In proportion to the features' own scale, which grows while an encoder trains.
    penalty = RIDGE * gram.trace() / math.sqrt(len(gram)) + 1e-9
    weights: Tensor = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), centred.T @ wanted)
    return weights


def _draw(rows: NDArray[np.int64], num: int, plan: RunPlan) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(derive_seed(plan.recipe.train.seed, 0, "panel")))
    return np.sort(generator.permutation(rows)[:num])


def _rarest(labels_NL: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return for each finding the films of its rarer class."""
    rarest: NDArray[np.int64] = np.minimum((labels_NL == 1).sum(axis=0), (labels_NL == 0).sum(axis=0))
    return rarest
