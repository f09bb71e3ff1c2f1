"""Ablations as `ablate` leaves them, made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import (
    AblationTable,
    ArmRow,
    DifferenceRow,
    Number,
    place_name,
    publish_table,
)
from cxrssl.records.contract import Contract, DataFacts, RunFacts

SEEDS = ("7", "2")
NOTHING = Number(math.nan, math.nan, math.nan, math.nan, {})


def make_ablation(workspace: Workspace, name: str, num_subjects: int = 103, **changes: Any) -> Path:
    """Publish the table of three arms on two seeds and return the folder of the ablation."""
    arms = {"vanilla": 0.71875, "right": 0.75, "wrong": 0.6875}
    rows = [
        ArmRow(arm, "mimic", 2, make_number(value), make_number(value - 0.5), 206, num_subjects)
        for arm, value in arms.items()
    ]
    why = {("right", "wrong"): "primary", ("right", "vanilla"): "baseline", ("wrong", "vanilla"): "baseline"}
    differences = [
        DifferenceRow(arm, against, "mimic", each, *[make_number(arms[arm] - arms[against])] * 2)
        for (arm, against), each in why.items()
    ]
    values: dict[str, Any] = {
        "question": "Which is best?",
        "metric": "auroc",
        "min_difference": 0.01,
        "seeds": SEEDS,
        "rows": {place_name(place): row for place, row in enumerate(rows)},
        "differences": {place_name(place): row for place, row in enumerate(differences)},
        "missing": (),
    }
    publish_table(workspace.ablations / name, make_contract(name), AblationTable(**{**values, **changes}))
    return workspace.ablations / name


def make_number(value: float) -> Number:
    """Return a number whose seeds lie 1/64 above and below it."""
    by_seed = {"7": value + 1 / 64, "2": value - 1 / 64}
    return Number(value, value - 0.0625, value + 0.0625, 0.0221, by_seed, 1000, 1000, 30)


def make_contract(name: str) -> Contract:
    runs = {f"{arm}-{seed}": RunFacts(arm, "mimic", int(seed), "r") for arm in ("vanilla", "right") for seed in SEEDS}
    data = {"mimic": DataFacts("c", "i")}
    return Contract(name, "seeds = [7, 2]", False, runs, data, {"train/step.py": "s"}, {"torch": "2"}, "cpu", 2)
