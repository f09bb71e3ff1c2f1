"""Heads that are trained by steps, against plain loops of torch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrssl.evaluate.descent import HeadFilms, draw_batches, start_heads, train_heads
from cxrssl.evaluate.protocol import Fit
from cxrssl.stats.metrics import auroc


def make_films(num: int = 24, width: int = 6, num_findings: int = 3) -> tuple[HeadFilms, NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2 * num, width)).astype(np.float32)
    y = (x[:, :num_findings] + rng.normal(size=(2 * num, num_findings)) > 0).astype(np.int8)
    y[rng.random(y.shape) < 0.1] = -1
    train = x[:num]
    judged = np.ones(num_findings, np.bool_)
    return HeadFilms(lambda places, step: train[places], y[:num], x[num:], y[num:], judged), train


def plain_head(
    films: HeadFilms, train: NDArray[np.float32], fit: Fit, start: tuple[torch.Tensor, torch.Tensor]
) -> tuple[list[float], list[torch.Tensor]]:
    """Return the macro AUROC and the weights after each epoch of a loop of torch over one layer."""
    layer = torch.nn.Linear(train.shape[1], films.labels_NF.shape[1]).double()
    with torch.no_grad():
        layer.weight.copy_(start[0])
        layer.bias.copy_(start[1])
    kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[fit.optimiser]
    optimiser = kind(layer.parameters(), lr=fit.rates[0], weight_decay=fit.weight_decay)
    steps = fit.epoch_steps or len(train) // fit.batch_films
    ticks = fit.epochs * (steps if fit.schedule == "step" else 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ticks)
    batches = draw_batches(len(train), fit.batch_films, bool(fit.epoch_steps), 3)
    scores, weights = [], []
    for _ in range(fit.epochs):
        for _ in range(steps):
            places = next(batches)
            labels = torch.from_numpy(films.labels_NF[places])
            logits = layer(torch.from_numpy(train[places]).double())
            known = labels >= 0
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known].double())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if fit.schedule == "step":
                schedule.step()
        if fit.schedule == "epoch":
            schedule.step()
        logits = layer(torch.from_numpy(films.chosen_x_NE).double()).detach().numpy()
        columns = range(films.labels_NF.shape[1])
        scores.append(float(np.mean([auroc(logits[:, k], films.chosen_y_NF[:, k]) for k in columns])))
        weights.append(layer.weight.detach().clone())
    return scores, weights


@pytest.mark.parametrize(
    "fit",
    [
        Fit("adam", (0.05,), 0.01, batch_films=7, epochs=6, schedule="epoch"),
        Fit("adamw", (0.02,), 0.1, batch_films=7, epochs=3, epoch_steps=5, schedule="step", start="normal"),
    ],
)
def test_a_head_of_one_rate_is_that_of_a_plain_loop_of_torch(fit: Fit) -> None:
    films, train = make_films()
    reads = np.ones((1, train.shape[1]), np.bool_)
    found = train_heads(films, fit, reads, 3)
    weight_HFE, bias_HF = start_heads(torch.from_numpy(reads), 3, fit.start, 3)
    scores, weights = plain_head(films, train, fit, (weight_HFE[0], bias_HF[0]))
    assert found.epoch == 1 + int(np.argmax(scores))
    assert found.auroc == max(scores)
    assert np.abs(found.weight_FE - weights[found.epoch - 1].numpy()).max() < 1e-6


def test_of_many_heads_the_best_is_kept_and_none_disturbs_another() -> None:
    films, train = make_films()
    rates = (0.5, 1e-4, 0.03)
    fit = Fit("adam", rates, batch_films=8, epochs=4)
    reads = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]], np.bool_)
    found = train_heads(films, fit, reads, 3)
    starts = start_heads(torch.from_numpy(np.repeat(reads, 3, axis=0)), 3, fit.start, 3)
    best = []
    for place in range(6):
        mask = reads[place // 3]
        some = dataclasses.replace(films, chosen_x_NE=films.chosen_x_NE[:, mask])
        one = dataclasses.replace(fit, rates=(rates[place % 3],))
        scores, weights = plain_head(
            some, train[:, mask], one, (starts[0][place][:, torch.from_numpy(mask)], starts[1][place])
        )
        best.append((max(scores), weights[int(np.argmax(scores))]))
    tops = [score for score, _ in best]
    assert found.auroc == max(tops)
    place = found.place
    assert tops[place] == max(tops)
    mask = reads[place // 3]
    assert np.abs(found.weight_FE[:, mask] - best[place][1].numpy()).max() < 1e-6
    assert not found.weight_FE[:, ~mask].any()


def test_training_stops_when_nothing_is_gained() -> None:
    films, _ = make_films()
    still = dataclasses.replace(films, chosen_x_NE=np.ones_like(films.chosen_x_NE))
    fit = Fit("adam", (0.1,), batch_films=8, epochs=20, patience=3)
    found = train_heads(still, fit, np.ones((1, 6), np.bool_), 0)
    assert (found.epoch, found.num_epochs, found.auroc) == (1, 4, 0.5)
    assert train_heads(still, dataclasses.replace(fit, patience=0), np.ones((1, 6), np.bool_), 0).num_epochs == 20


def test_a_gain_below_the_least_does_not_count_and_digits_round() -> None:
    films, _ = make_films()
    fit = Fit("adam", (0.01,), batch_films=8, epochs=12, patience=2, min_gain=1.0)
    assert train_heads(films, fit, np.ones((1, 6), np.bool_), 0).num_epochs == 3
    rounded = train_heads(films, dataclasses.replace(fit, digits=2), np.ones((1, 6), np.bool_), 0)
    assert rounded.auroc == round(rounded.auroc, 2)


def test_batches_leave_out_what_is_not_full_or_carry_it_over() -> None:
    batches = draw_batches(10, 4, False, 0)
    first = [next(batches) for _ in range(4)]
    assert [len(each) for each in first] == [4, 4, 4, 4]
    assert len(set(np.concatenate(first[:2]).tolist())) == 8
    endless = draw_batches(10, 4, True, 0)
    passes = np.concatenate([next(endless) for _ in range(5)])
    assert sorted(passes[:10].tolist()) == sorted(passes[10:].tolist()) == list(range(10))
    assert len(next(draw_batches(3, 64, False, 0))) == 3
