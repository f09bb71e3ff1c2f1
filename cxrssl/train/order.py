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


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, epoch, "order")))
    return generator.permutation(num_rows)
