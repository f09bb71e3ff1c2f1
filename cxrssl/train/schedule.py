"""Learning rate, weight decay and target momentum as pure functions of the step.

Source: Assran et al. 2022, appendix (warm-up, cosine, rising weight decay and momentum). The published code of Shurrab
et al. 2024 holds weight decay and momentum fixed and lets the rate fall by epoch, which the same settings express.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from cxrssl.recipe.settings import TrainSettings


@dataclass(frozen=True)
class StepSettings:
    lr: float
    weight_decay: float
    ema_momentum: float
    progress: float
    """Share of the steps that are done."""

    def to_record(self) -> dict[str, float]:
        """Return what the journal says of them; the step itself tells the progress."""
        return {"lr": self.lr, "weight_decay": self.weight_decay, "ema_momentum": self.ema_momentum}


def settings_at(
    step: int, num_steps: int, steps_per_epoch: int, train: TrainSettings, first_step: int = 0
) -> StepSettings:
    """Return what step `step` of `num_steps` (counted from 0) uses.

    `first_step` is where a run that extends another one takes over. What begins at a share of a run has begun there.
    """
    if first_step:
        length = num_steps - first_step
        at = length if train.extend_schedule == "hold" else step - first_step
        return replace(settings_at(at, length, steps_per_epoch, train), progress=1.0)
    # Divided by num_steps, not by num_steps - 1: the last step is still a step away from the final values.
    return StepSettings(
        lr=learning_rate(step - step % steps_per_epoch if train.lr_per_epoch else step, num_steps, train),
        weight_decay=cosine(step / num_steps, train.weight_decay_start, train.weight_decay_final),
        ema_momentum=momentum(step, num_steps, train),
        progress=step / num_steps,
    )


def momentum(step: int, num_steps: int, train: TrainSettings) -> float:
    """Return the target's momentum: a straight line from its start to `ema_final`.

    Differs: Masked Siamese Networks start at .996 for a million steps, where the target averages over 250 of them. In a
    run of 250 steps it would hardly leave its start. So no run starts with an average over more than `ema_horizon` of
    its steps.
    """
    start = train.ema_start
    if train.ema_horizon > 0:
        start = min(start, max(0.0, 1.0 - 1.0 / (train.ema_horizon * num_steps)))
    return start + (train.ema_final - start) * step / num_steps


def share_covered(num_steps: int, train: TrainSettings, first_step: int = 0) -> float:
    """Return how much of the way from its start to a resting anchor the target goes in a run, from 0 to 1."""
    left = 1.0
    for step in range(first_step, num_steps):
        left *= settings_at(step, num_steps, 1, train, first_step).ema_momentum
        if left < 1e-6:
            break
    return 1.0 - left


def learning_rate(step: int, num_steps: int, train: TrainSettings) -> float:
    """Linear from a fraction of `lr` to `lr` over the warm-up, then a half cosine to a fraction of it."""
    # Without warm-up the first branch is never taken, and nothing is divided by zero.
    num_warmup = round(train.warmup_frac * num_steps)
    if step < num_warmup:
        return train.lr * (train.lr_start_frac + (1 - train.lr_start_frac) * step / num_warmup)
    return train.lr * cosine((step - num_warmup) / max(1, num_steps - num_warmup), 1.0, train.lr_final_frac)


def cosine(progress: float, start: float, final: float) -> float:
    """Return a half cosine from `start` at progress 0 to `final` at 1."""
    return final + (start - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
