"""Runs of a recipe small enough for a CPU and calm enough that 200 steps can be compared; also as a process of its own.

python -m tests.gpu.runs '{"workspace": ..., "name": ..., "device": "cuda", "deterministic": true}'
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrssl.core.durable import sha256_file
from cxrssl.core.journal import read_journal
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from tests.gpu.world import NAME

CALM = [
    "model.patch_px=8", "views.global_px=32", "views.focal_px=16", "views.num_focal=2", "objective.num_prototypes=8",
    "train.batch_size=16", "train.lr=1e-4",
]  # fmt: skip
"""At ten times this rate, in batches of half the size, the mere order of sums changes a loss by a third."""


def plan_steps(workspace: Path, name: str, num_steps: int, precision: str = "fp32", **machine: Any) -> RunPlan:
    """Return a plan of at least `num_steps` steps."""
    changes = [*CALM, f"train.precision={precision}"]
    settings = Machine(num_threads=1, **{"checkpoint_every": 10**9, "probe_every": 0, **machine})
    plan = plan_run(
        Workspace(workspace), NAME, load_recipe("demo", changes, {"ehr": {"features": ["sex", "view"]}}), settings, name
    )
    train = replace(plan.recipe.train, num_epochs=-(-num_steps // plan.steps_per_epoch))
    return replace(plan, recipe=replace(plan.recipe, train=train))


def read_losses(folder: Path) -> list[float]:
    """Return the loss of every step; after a kill a step is told twice, and the later one counts."""
    journals = sorted(folder.glob("metrics-*.jsonl"))
    return list({r["step"]: r["loss"] for journal in journals for r in read_journal(journal)}.values())


def hash_weights(folder: Path) -> str:
    return sha256_file(folder / "encoder" / "encoder.safetensors")


def train(workspace: Path, name: str, num_steps: int, **settings: Any) -> Path:
    """Train here and return the run's folder."""
    plan = plan_steps(workspace, name, num_steps, **settings)
    pretrain(plan)
    return plan.folder


def start(workspace: Path, name: str, num_steps: int, kill_at: str = "", **settings: Any) -> subprocess.Popen[str]:
    """Train in a process of its own, which repeats itself bit for bit and may be killed at a kill point."""
    order = {"workspace": str(workspace), "name": name, "num_steps": num_steps, "deterministic": True, **settings}
    environment = {**os.environ, "CXRSSL_KILL_AT": kill_at}
    command = [sys.executable, "-m", "tests.gpu.runs", json.dumps(order)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    train(Path(order.pop("workspace")), **order)
