"""In what two runs differ: recipe, data and code, as their run.json says it.

In: descriptions of runs. Out: rows (what, value of the first, value of the second). Never: a difference left out
because this version does not know its key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.recipe.check import find_idle
from cxrssl.recipe.settings import Recipe
from cxrssl.records.run import RunDescription

NO_EFFECT = " (no effect)"
SEED = "train.seed"


class Unlike(NamedTuple):
    """Something in which two runs differ."""

    what: str
    first: str
    second: str


def find_recipe_differences(a: RunDescription, b: RunDescription, seeds: bool = True) -> list[Unlike]:
    """Return the keys of two recipes whose values differ, "-" where a recipe lacks one; without the seed if asked."""
    values, idle = [_flatten(each.recipe) for each in (a, b)], [_find_idle(each.recipe) for each in (a, b)]
    keys = [key for key in {**values[0], **values[1]} if values[0].get(key, "-") != values[1].get(key, "-")]
    return [
        Unlike(
            key,
            *(f"{each.get(key, '-')}{NO_EFFECT if key in off else ''}" for each, off in zip(values, idle, strict=True)),
        )
        for key in keys
        if seeds or key != SEED
    ]


def find_data_differences(a: RunDescription, b: RunDescription) -> list[Unlike]:
    """Return in what the data of two runs differ."""
    facts = {
        "cohort": [each.cohort for each in (a, b)],
        "dataset": [each.dataset for each in (a, b)],
        "cohort's content": [each.cohort_sha256[:12] for each in (a, b)],
        "films' content": [each.images_sha256[:12] for each in (a, b)],
        "split": [each.split for each in (a, b)],
        "films": [f"{each.num_films:,}" for each in (a, b)],
        "steps": [f"{each.num_steps:,}" for each in (a, b)],
    }
    return _differing(facts)


def find_code_differences(a: RunDescription, b: RunDescription) -> list[Unlike]:
    """Return in what the code, the libraries and the device of two runs differ, as far as they were recorded."""
    known = [each.code_facts for each in (a, b)]
    facts = {name: [each.get(name, "not recorded") for each in known] for name in {**known[0], **known[1]}}
    return _differing({**facts, "device": [each.device or "not recorded" for each in (a, b)]})


def _differing(facts: Mapping[str, list[str]]) -> list[Unlike]:
    return [Unlike(what, *(each or "-" for each in both)) for what, both in facts.items() if both[0] != both[1]]


def _flatten(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return nested settings by dotted key, each as JSON without the quotes of a text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flatten(value, f"{before}{key}.")
        else:
            found[before + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def _find_idle(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys without effect; none where this version cannot read the recipe."""
    try:
        return find_idle(build_settings(Recipe, recipe))
    except ConfigError:
        return {}
