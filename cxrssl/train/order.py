"""Which films a step is made of: a function of (seed, step) alone."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.seed import derive_seed
from cxrssl.train.plan import RunPlan

Rows = NDArray[np.int64]


def batch_rows(plan: RunPlan, step: int) -> Rows:
    """Return the cohort rows of a step: each epoch is one permutation of all rows, its ragged end dropped.

    With `data.mix = "even"` an epoch has as many films, and of every cohort as many, see `even_places`.
    """
    # No sampler, no state: a run that resumes asks for a step and gets the films it would have had.
    epoch, index = divmod(step, plan.steps_per_epoch)
    size = plan.recipe.train.batch_size
    order = _epoch_order(plan.recipe.train.seed, epoch, len(plan.rows))
    return _rows_at(plan, epoch, order[index * size : (index + 1) * size])


def _rows_at(plan: RunPlan, epoch: int, places: Rows) -> Rows:
    if plan.recipe.data.mix == "even":
        return plan.rows_by_member[even_places(places, plan.recipe.train.seed, epoch, plan.member_sizes)]
    return plan.rows[places]


def even_places(places: Rows, seed: int, epoch: int, sizes: tuple[int, ...]) -> Rows:
    """Return which films stand at these places of an epoch, numbered cohort by cohort, of cohorts of these sizes.

    The places of all epochs go to the cohorts in turn. A cohort fills its own with one permutation of its films after
    the other, so that none of its films comes again before all have come.
    """
    num_films, num_cohorts = sum(sizes), len(sizes)
    numbers = epoch * num_films + places
    cohorts, draws = numbers % num_cohorts, numbers // num_cohorts
    starts = np.cumsum((0, *sizes[:-1]))
    films = np.empty_like(places)
    for cohort, size in enumerate(sizes):
        (here,) = np.nonzero(cohorts == cohort)
        passes, within = np.divmod(draws[here], size)
        for number in np.unique(passes):
            order = _pass_order(seed, cohort, int(number), size)
            films[here[passes == number]] = starts[cohort] + order[within[passes == number]]
    return films


def find_step(plan: RunPlan, row: int, epoch: int) -> tuple[int, int] | None:
    """Return the first step of an epoch that has the film of a cohort row, and its place in that step's batch.

    None for a film that is not trained on, or not in a whole batch of this epoch.
    """
    order = _epoch_order(plan.recipe.train.seed, epoch, len(plan.rows))
    (at,) = np.nonzero(_rows_at(plan, epoch, order) == row)
    if not len(at):
        return None
    index, in_batch = divmod(int(at[0]), plan.recipe.train.batch_size)
    return (epoch * plan.steps_per_epoch + index, in_batch) if index < plan.steps_per_epoch else None


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> Rows:
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, epoch, "order")))
    return generator.permutation(num_rows)


@functools.lru_cache(maxsize=64)
def _pass_order(seed: int, cohort: int, number: int, num_rows: int) -> Rows:
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, number, f"order of cohort {cohort}")))
    return generator.permutation(num_rows)
