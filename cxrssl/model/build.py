"""From a recipe's objective to the model that has its equations."""

from __future__ import annotations

from collections.abc import Callable

from cxrssl.model.dino import DINO
from cxrssl.model.finetune import Finetune
from cxrssl.model.mae import MAE
from cxrssl.model.msn import MSN
from cxrssl.model.objective import Objective
from cxrssl.model.record import NO_RECORD, RecordColumns
from cxrssl.model.simclr import SimCLR
from cxrssl.model.supervised import Supervised
from cxrssl.recipe.settings import Recipe

# The only list of objectives above the recipe: nothing else in training names one.
OBJECTIVES: dict[str, Callable[[Recipe, RecordColumns], Objective]] = {
    "msn": MSN,
    "dino": DINO,
    "mae": MAE,
    "simclr": SimCLR,
    "supervised": Supervised,
    "finetune": Finetune,
}
"""By the name in the recipe: from the recipe and what it takes of the record, with weights of torch's generator."""


def build_objective(recipe: Recipe, columns: RecordColumns = NO_RECORD) -> Objective:
    """Return the untrained model of a recipe."""
    return OBJECTIVES[recipe.objective.name](recipe, columns)
