"""Which films a step is made of: a function of (seed, step) alone."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.seed import derive_seed
from cxrssl.train.plan import RunPlan


def batch_rows(plan: RunPlan, step: int) -> NDArray[np.int64]:
    """Return the cohort rows of a step: each epoch is one permutation of all rows, its ragged end dropped."""
    # No sampler, no state: a run that resumes asks for a step and gets the films it would have had.
    epoch, index = divmod(step, plan.steps_per_epoch)
    size = plan.recipe.train.batch_size
    order = _epoch_order(plan.recipe.train.seed, epoch, len(plan.rows))
    return plan.rows[order[index * size : (index + 1) * size]]


def find_step(plan: RunPlan, row: int, epoch: int) -> tuple[int, int] | None:
    """Return the step of an epoch that has the film of a cohort row, and its place in that step's batch.

    None for a film that is not trained on, or is in the ragged end of this epoch.
    """
    (at,) = np.nonzero(plan.rows == row)
    if not len(at):
        return None
    (place,) = np.nonzero(_epoch_order(plan.recipe.train.seed, epoch, len(plan.rows)) == at[0])
    index, in_batch = divmod(int(place[0]), plan.recipe.train.batch_size)
    return (epoch * plan.steps_per_epoch + index, in_batch) if index < plan.steps_per_epoch else None


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, epoch, "order")))
    return generator.permutation(num_rows)
