"""The golden checkpoints: one a format version, as that version wrote it, and the losses of the steps after it.

Run as a script it writes the one of the current version: `python -m tests.golden.checkpoint`. Do that once for each
new `FORMAT_VERSION`, and again only where a change of the numbers was meant and is told to the users.
"""

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cxrssl.core.errors import IntegrityError
from cxrssl.core.manifest import FORMAT_VERSION
from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import BACKBONES, Recipe
from cxrssl.train.checkpoint import Checkpoints
from cxrssl.train.guard import Guard
from cxrssl.train.schedule import settings_at
from cxrssl.train.state import TrainState, flatten_state, init_state, restore_state
from cxrssl.train.step import Batch, take_step
from cxrssl.views.draw import Views, make_views

FOLDER = Path(__file__).parent
SHAPE = (8, 1, 2)
"""Width, depth and heads in the place of vit-micro's: a checkpoint of some 30 kB."""
STEP, NUM_NEXT, NUM_STEPS, BATCH, NUM_EHR = 4, 2, 20, 4, 3
SETTINGS = [
    "model.patch_px=8", "model.head_hidden_mult=1", "ehr.embed_dim=4", "views.global_px=16", "views.focal_px=16",
    "views.num_focal=1", "objective.num_prototypes=8", f"train.batch_size={BATCH}",
]  # fmt: skip


def start() -> tuple[Recipe, TrainState]:
    """Return the recipe and its state before the first step."""
    BACKBONES["vit-micro"], kept = SHAPE, BACKBONES["vit-micro"]
    try:
        recipe = load_recipe("demo", SETTINGS, {"ehr": {"features": ["sex"]}})
        return recipe, init_state(recipe, RecordColumns(NUM_EHR), torch.device("cpu"))
    finally:
        BACKBONES["vit-micro"] = kept


def take_steps(recipe: Recipe, state: TrainState, num: int) -> list[float]:
    """Take `num` steps on films and records that are noise, the same at every step, and return their losses."""
    rng = np.random.default_rng(7)
    films = torch.from_numpy(rng.integers(0, 256, (BATCH, 24, 24), dtype=np.uint8))
    valid = torch.tensor([[0.0, 0.0, 24.0, 24.0]] * BATCH)
    ehr = torch.from_numpy(rng.random((BATCH, NUM_EHR), dtype=np.float32))
    guard, losses = Guard(state.optimizer, torch.device("cpu")), []
    for _ in range(num):

        def views_of(part: slice) -> Views:
            return make_views(films[part], valid, state.model.view_plan, 0, state.step, part)

        now = settings_at(state.step, NUM_STEPS, 5, recipe.train)
        loss, _ = take_step(state, Batch(views_of, Record(ehr), [slice(0, BATCH)]), now, guard, recipe.train)
        losses.append(float(loss.total.detach()))
    return losses


def resume(folder: Path, on_damage: Callable[[IntegrityError], None]) -> tuple[Recipe, TrainState]:
    """Return the recipe and the state that the newest checkpoint in `folder` holds."""
    recipe, state = start()
    restore_state(state, Checkpoints(folder, {}, 1).load_newest(on_damage) or {})
    return recipe, state


def write() -> None:
    """Write the golden checkpoint of the current format."""
    torch.set_num_threads(1)
    folder = FOLDER / f"checkpoint-{FORMAT_VERSION}"
    recipe, state = start()
    take_steps(recipe, state, STEP)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    platform.platform = lambda *_: "Linux"  # which one is nobody's business
    Checkpoints(folder, {"recipe_sha256": recipe.sha256}, 1).save(state.step, flatten_state(state))
    losses = take_steps(recipe, state, NUM_NEXT)
    (folder / "next.json").write_text(json.dumps({"losses": losses}, indent=1) + "\n")


if __name__ == "__main__":
    write()
