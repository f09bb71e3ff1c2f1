"""What an ablation will take, and what it can show: time and memory of each arm, the smallest visible difference.

In: jobs. Out: Cost of each row, a difference for each cohort. Never: a file of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cxrssl.ablate.contract import Job
from cxrssl.core.durable import hash_settings
from cxrssl.evaluate.visible import find_visible
from cxrssl.records.eval_settings import ProbeSettings


@dataclass(frozen=True)
class Cost:
    """What one run takes on this machine, alone on it."""

    num_films: int
    num_steps: int
    run_s: float
    memory_bytes: int


def estimate_costs(jobs: Sequence[Job], device: str) -> dict[str, Cost]:
    """Return the cost of a run of each row, by the row's name; a few steps of each shape are taken in a process apart.

    Raises: SetupError when a trial does not fit into memory, or there is no such device.
    """
    from cxrssl.train.device import choose_device  # torch, which only this needs
    from cxrssl.train.estimate import Estimate, estimate_run

    measured: dict[str, Estimate] = {}
    costs: dict[str, Cost] = {}
    for job in jobs:
        if job.row.name in costs:
            continue
        shape, plan = shape_of(job), job.plan
        if shape not in measured:
            measured[shape] = estimate_run(plan, choose_device(device))
        found = measured[shape]
        run_s = found.step_s * (plan.num_steps - plan.first_step)
        costs[job.row.name] = Cost(len(plan.rows), plan.num_steps, run_s, found.memory_bytes)
    return costs


def shape_of(job: Job) -> str:
    """Return a hash that is equal for runs whose steps take the same time and memory, whatever they see or predict."""
    recipe = job.plan.recipe
    ehr, train = recipe.ehr, recipe.train
    record = bool(ehr.features), ehr.fusion, ehr.branch, bool(ehr.predict)
    batch = train.batch_size, train.precision, train.rows
    values = recipe.to_dict()
    return hash_settings([values["model"], values["views"], values["objective"], record, batch, job.plan.cohort.name])


def smallest_differences(jobs: Sequence[Job], probe: ProbeSettings) -> dict[str, float]:
    """Return by cohort the smallest difference in macro AUROC of two arms that its test set can show; nan for none."""
    num_seeds = len({job.seed for job in jobs})
    by_cohort = {job.cohort.name: job for job in jobs}
    shown = {name: find_visible(*job.probed, job.scheme, num_seeds, probe)["macro"] for name, job in by_cohort.items()}
    return {name: math.nan if value is None else value for name, value in shown.items()}
