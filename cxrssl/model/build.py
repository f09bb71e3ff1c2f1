"""From a recipe's objective to the model that has its equations."""

from __future__ import annotations

from collections.abc import Callable

from cxrssl.model.msn import MSN
from cxrssl.model.objective import Objective
from cxrssl.recipe.settings import Recipe

# The only list of objectives above the recipe: nothing else in training names one.
OBJECTIVES: dict[str, Callable[[Recipe, int], Objective]] = {"msn": MSN}
"""By the name in the recipe: from the recipe and the number of EHR columns, with weights of torch's generator."""


def build_objective(recipe: Recipe, num_ehr_columns: int) -> Objective:
    """Return the untrained model of a recipe."""
    return OBJECTIVES[recipe.objective.name](recipe, num_ehr_columns)
