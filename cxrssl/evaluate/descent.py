"""Linear heads trained by gradient descent as others train theirs: several rates and readings at once.

In: features of batches of train films, features and labels of the films that choose. Out: the head that ranks those
best, as a LinearProbe. Never: a head that has seen a label of the films that choose.

Suffix letters: N films, B films of a batch, H heads, E features, F findings that are fitted, L findings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import DataError
from cxrssl.core.progress import Track, track
from cxrssl.core.seed import derive_seed
from cxrssl.core.text import count_noun
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe, count_scored_subjects, prevalence_logit
from cxrssl.evaluate.protocol import Fit
from cxrssl.evaluate.shown import ShownFilms
from cxrssl.records.scores import HeadChoice
from cxrssl.stats.metrics import Floats, auroc
from cxrssl.stats.resample import MIN_SUBJECTS

BETAS, EPSILON = (0.9, 0.999), 1e-8
Labels = NDArray[np.int8]
Batches = Callable[[NDArray[np.int64], int], NDArray[np.float32]]
"""Features [B, E] of train films, by their places among these and the step."""


@dataclass(frozen=True, eq=False)
class HeadFilms:
    """What heads are trained on, and what chooses among them."""

    batches: Batches
    labels_NF: Labels
    """Of the train films: 1, 0 or -1 for one that does not count."""
    chosen_x_NE: NDArray[np.float32]
    """Features of the films that choose."""
    chosen_y_NF: Labels
    is_judged_F: NDArray[np.bool_]
    """Whether a finding has a part in the choice."""


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """The head that was kept."""

    weight_FE: Floats
    bias_F: Floats
    place: int
    """Which of the heads."""
    epoch: int
    """After which it was kept, from 1 on."""
    num_epochs: int
    """Until training ended."""
    auroc: float
    """Macro AUROC of the films that chose it."""
    others: tuple[TrainedHead, ...] = ()
    """Those kept of the other draws of the first weights."""


class Adam:
    """Adam of several heads, each at a rate of its own, with weight decay in the gradient or (AdamW) apart from it.

    Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2; constants of torch.
    """

    def __init__(self, values: Tensor, rate_H: Tensor, weight_decay: float, is_decoupled: bool) -> None:
        self.values, self.rate_H = values, rate_H.view(-1, *[1] * (values.ndim - 1))
        self.weight_decay, self.is_decoupled = weight_decay, is_decoupled
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)
        self.num_steps = 0

    def step(self, gradient: Tensor, share: float) -> None:
        """Change the values in place, at this share of the rates."""
        self.num_steps += 1
        rate_H = self.rate_H * share
        if self.is_decoupled:
            self.values.mul_(1 - rate_H * self.weight_decay)
        else:
            gradient = gradient + self.weight_decay * self.values
        for kept, beta, seen in ((self.mean, BETAS[0], gradient), (self.square, BETAS[1], gradient.square())):
            kept.mul_(beta).add_(seen, alpha=1 - beta)
        mean, square = (
            kept / (1 - beta**self.num_steps) for kept, beta in zip((self.mean, self.square), BETAS, strict=True)
        )
        self.values.sub_(rate_H * mean / (square.sqrt() + EPSILON))


def train_heads(
    films: HeadFilms, fit: Fit, reads_RE: NDArray[np.bool_], seed: int, progress: Track | None = None
) -> TrainedHead:
    """Return the head of the highest macro AUROC on the films that choose, over heads and epochs, of equals the first.

    Heads are of each reading at each rate; of several draws of these each keeps its own, on the same batches. The loss
    of a head is the mean binary cross entropy over the known labels of a batch. Equal inputs give equal bits on one
    machine with one number of threads.
    """
    reads_HE = torch.from_numpy(np.tile(np.repeat(reads_RE, len(fit.rates), axis=0), (fit.draws, 1)))
    rate_H = torch.tensor(fit.rates, dtype=torch.float64).repeat(len(reads_RE) * fit.draws)
    weight_HFE, bias_HF = start_heads(reads_HE, films.labels_NF.shape[1], fit.start, seed)
    optimisers = [Adam(each, rate_H, fit.weight_decay, fit.optimiser == "adamw") for each in (weight_HFE, bias_HF)]
    num_films = len(films.labels_NF)
    batches = draw_batches(num_films, fit.batch_films, bool(fit.epoch_steps), seed)
    steps = fit.epoch_steps or max(1, num_films // fit.batch_films)
    kept: list[TrainedHead | None] = [None] * fit.draws
    best, waited = -math.inf, 0
    for epoch in range(fit.epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            places = next(batches)
            x_BE = torch.from_numpy(films.batches(places, step)).double()
            gradients = find_gradients(x_BE, films.labels_NF[places], weight_HFE, bias_HF)
            share = rate_share(fit.schedule, step, steps, fit.epochs)
            optimisers[0].step(gradients[0] * reads_HE[:, None], share)
            optimisers[1].step(gradients[1], share)
            if progress is not None:
                progress.advance(len(places))
        found = _judge(films, weight_HFE, bias_HF, fit.digits)
        for draw, found_H in enumerate(found.reshape(fit.draws, -1)):
            kept[draw] = _keep(kept[draw], found_H, (weight_HFE, bias_HF), draw, epoch + 1)
        top = float(found.max())
        waited = 0 if top > best + fit.min_gain else waited + 1
        best = top if waited == 0 else best
        if fit.patience and waited >= fit.patience:
            break
    first, *others = (replace(each, num_epochs=epoch + 1) for each in kept if each is not None)
    return replace(first, others=tuple(others))


def _keep(
    kept: TrainedHead | None, found_H: Floats, heads: tuple[Tensor, Tensor], draw: int, epoch: int
) -> TrainedHead:
    """Return the best head of a draw so far, of equals the one that is kept."""
    place = int(np.argmax(found_H))
    if kept is not None and float(found_H[place]) <= kept.auroc:
        return kept
    weight_FE, bias_F = (each[draw * len(found_H) + place].numpy().copy() for each in heads)
    return TrainedHead(weight_FE, bias_F, place, epoch, epoch, float(found_H[place]))


def start_heads(reads_HE: Tensor, num_findings: int, start: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return first weights [H, F, E], 0 where a head reads nothing, and biases [H, F]; each head is drawn apart."""
    weight_HFE = torch.zeros(len(reads_HE), num_findings, reads_HE.shape[1], dtype=torch.float64)
    bias_HF = torch.zeros(len(reads_HE), num_findings, dtype=torch.float64)
    for head, reads_E in enumerate(reads_HE):
        generator = torch.Generator().manual_seed(derive_seed(seed, head, "protocol/head"))
        width = int(reads_E.sum())
        if start == "normal":
            drawn = torch.randn(num_findings, width, generator=generator, dtype=torch.float64) * 0.01
        else:
            bound = 1 / math.sqrt(width)
            drawn = (torch.rand(num_findings, width, generator=generator, dtype=torch.float64) * 2 - 1) * bound
            bias_HF[head] = (torch.rand(num_findings, generator=generator, dtype=torch.float64) * 2 - 1) * bound
        weight_HFE[head, :, reads_E] = drawn
    return weight_HFE, bias_HF


def draw_batches(num_films: int, size: int, is_endless: bool, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield places of train films, pass after pass, each in an order of its own.

    What does not fill a batch at the end of a pass is left out of it, or begins the next one if passes are endless.
    Fewer films than a batch are one batch.
    """
    size, rest, num_passes = min(size, num_films), np.empty(0, np.int64), 0
    while True:
        generator = torch.Generator().manual_seed(derive_seed(seed, num_passes, "protocol/order"))
        order = torch.randperm(num_films, generator=generator).numpy()
        rest = np.concatenate([rest, order]) if is_endless else order
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
        num_passes += 1


def find_gradients(x_BE: Tensor, labels_BF: Labels, weight_HFE: Tensor, bias_HF: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the mean binary cross entropy over the known labels of a batch, for each head."""
    labels = torch.from_numpy(labels_BF)
    known_BF = (labels >= 0).double()
    num_heads, num_findings, width = weight_HFE.shape
    logits_BHF = (x_BE @ weight_HFE.reshape(-1, width).T).view(-1, num_heads, num_findings) + bias_HF
    wrong_BHF = (torch.sigmoid(logits_BHF) - (labels == 1).double()[:, None]) * known_BF[:, None]
    wrong_BHF = wrong_BHF / known_BF.sum().clamp(min=1)
    return (wrong_BHF.flatten(1).T @ x_BE).view(weight_HFE.shape), wrong_BHF.sum(dim=0)


def rate_share(schedule: str, step: int, epoch_steps: int, num_epochs: int) -> float:
    """Return the share of its rate at which a head takes a step. Source: torch's CosineAnnealingLR, to 0."""
    if schedule == "none":
        return 1.0
    done = step / (epoch_steps * num_epochs) if schedule == "step" else (step // epoch_steps) / num_epochs
    return 0.5 * (1 + math.cos(math.pi * done))


def _judge(films: HeadFilms, weight_HFE: Tensor, bias_HF: Tensor, digits: int) -> Floats:
    """Return the macro AUROC of each head over the findings that are judged, [H]."""
    x_NE = films.chosen_x_NE.astype(np.float64)
    found = np.full(len(weight_HFE), -1.0)  # of a head that diverges
    columns = np.flatnonzero(films.is_judged_F)
    for head, (weight_FE, bias_F) in enumerate(zip(weight_HFE.numpy(), bias_HF.numpy(), strict=True)):
        logits_NF = x_NE @ weight_FE.T + bias_F
        if np.isfinite(logits_NF).all():
            found[head] = np.mean([auroc(logits_NF[:, each], films.chosen_y_NF[:, each]) for each in columns])
    return np.round(found, digits) if digits else found


def fit_heads(
    plan: EvalPlan, shown: ShownFilms, labels_NL: Labels
) -> tuple[LinearProbe, HeadChoice, tuple[LinearProbe, ...]]:
    """Return the head that a protocol trains and keeps, how it was chosen, and those of other draws of first weights.

    A finding with one class in train has no head; one with one class, or one subject, among the films that choose has
    no part in the choice.
    Raises: DataError where no finding is left to train, or to choose by.
    """
    protocol, fit, seed = shown.protocol, shown.protocol.fit, plan.settings.probe.seed
    train, choose = plan.rows["train"], plan.rows[protocol.selected_on]
    is_fitted_L = (labels_NL[train] == 1).any(axis=0) & (labels_NL[train] == 0).any(axis=0)
    y_NL = labels_NL[choose]
    has_both_L = (y_NL == 1).any(axis=0) & (y_NL == 0).any(axis=0)
    enough_L = count_scored_subjects(y_NL, plan.cohort.subject_id[choose]) >= MIN_SUBJECTS
    is_judged_L = is_fitted_L & has_both_L & enough_L
    if not is_judged_L.any():
        what = f"protocol {protocol.name} chooses by the {protocol.selected_on} films, and no finding has both classes "
        raise DataError(f"{what}in train and there", plan.cohort.folder, "choose another --split")
    films = HeadFilms(
        batches=lambda places, step: shown.change(train[places], seed, step),
        labels_NF=labels_NL[train][:, is_fitted_L],
        chosen_x_NE=shown[choose],
        chosen_y_NF=y_NL[:, is_fitted_L],
        is_judged_F=is_judged_L[is_fitted_L],
    )
    steps = fit.epoch_steps or max(1, len(train) // fit.batch_films)
    total = fit.epochs * steps * min(fit.batch_films, len(train))
    with track(f"protocol {protocol.name}", total, "films") as progress:
        kept = train_heads(films, fit, shown.reads_RE, seed, progress)
    if not all(np.isfinite(each.weight_FE).all() for each in (kept, *kept.others)):
        raise DataError(f"the heads of protocol {protocol.name} diverge at all of {count_noun(len(fit.rates), 'rate')}")
    probe, *others = (_to_probe(each, labels_NL[train], (is_fitted_L, is_judged_L)) for each in (kept, *kept.others))
    read, rate = divmod(kept.place, len(fit.rates))
    choice = HeadChoice(
        read=protocol.read[read],
        rate=fit.rates[rate],
        epoch=kept.epoch,
        num_epochs=kept.num_epochs,
        selected_on=protocol.selected_on,
        auroc=kept.auroc,
    )
    return probe, choice, tuple(others)


def _to_probe(
    head: TrainedHead, labels_NL: Labels, is_fitted_judged_L: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> LinearProbe:
    """Return a head as a probe of all findings; of those that are not fitted the bias is that of their prevalence."""
    is_fitted_L, is_judged_L = is_fitted_judged_L
    width = head.weight_FE.shape[1]
    weight_LE, bias_L = np.zeros((len(is_fitted_L), width)), prevalence_logit(labels_NL)
    weight_LE[is_fitted_L], bias_L[is_fitted_L] = head.weight_FE, head.bias_F
    return LinearProbe(weight_LE, bias_L, np.zeros(width), np.ones(width), math.nan, is_fitted_L, is_judged_L)
