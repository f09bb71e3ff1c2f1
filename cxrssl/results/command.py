"""The command that makes a run again, from what run.json says of it.

In: RunDescription. Out: the words of `cxrssl pretrain`, checked by reading them back; or nothing where no words say it.
Never: a command that would make another run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cxrssl.cohort.features import NONE, name_features
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError, CxrsslError
from cxrssl.recipe.check import flatten
from cxrssl.recipe.load import load_recipe, recipe_names
from cxrssl.recipe.settings import Recipe, name_extended
from cxrssl.recipe.text import format_value
from cxrssl.records.members import name_data
from cxrssl.records.run import RunDescription

OWN_FLAGS = {
    "model.backbone": "--backbone",
    "model.init": "--init",
    "train.seed": "--seed",
    "data.where": "--where",
}
LISTS = {"ehr.features": "--ehr", "ehr.predict": "--predict"}
IMPLIED = frozenset({"ehr.may_use_outcomes"})
"""Follows from --ehr and --predict."""


def read_recipe(description: RunDescription) -> Recipe | None:
    """Return the recipe of a run, None where this version cannot read it."""
    try:
        return build_settings(Recipe, description.recipe)
    except ConfigError:
        return None


def find_command(description: RunDescription) -> list[str] | None:
    """Return the shortest words after `cxrssl` that plan this run, None where there are none."""
    recipe = read_recipe(description)
    if recipe is None:
        return None
    found = [words for name in recipe_names() if (words := _words_from(name, recipe, description)) is not None]
    return min(found, key=len, default=None)


def label_of(description: RunDescription, recipe: Recipe) -> str:
    """Return what the id of a run calls it, between its cohort and its backbone."""
    ending = f"-{recipe.model.backbone}-s{recipe.train.seed}-"
    name, _, _ = description.run_id.removeprefix(f"{name_data(description.cohort)}-").rpartition(ending)
    return name


def default_label(recipe: Recipe) -> str:
    """Return what the id calls a run that was given no name: its objective, its record, how far it extends another."""
    ehr = recipe.ehr
    parts = [recipe.objective.name]
    parts += [name_features(ehr.features, "+")] if ehr.features else []
    parts += ["predict-" + name_features(ehr.predict, "-")] if ehr.predict else []
    parts += [ehr.control.replace(":", "-")] if ehr.control != "none" else []
    return "+".join(parts + ([name_extended(recipe)] if recipe.train.extends else []))


def _words_from(name: str, recipe: Recipe, description: RunDescription) -> list[str] | None:
    """Return the words that change the recipe `name` into `recipe`, None where they do not."""
    try:
        base = flatten(load_recipe(name, [f"objective.name={recipe.objective.name}"]))
        changed = {key: value for key, value in flatten(recipe).items() if base.get(key) != value}
        words, overrides, changes = _spell(changed, base)
        if load_recipe(name).objective.name != recipe.objective.name:
            overrides = [f"objective.name={recipe.objective.name}", *overrides]
            words = ["--set", overrides[0], *words]
        asked = load_recipe(name, overrides, changes)
        label = label_of(description, recipe)
        named = [] if label == default_label(recipe) else ["--name", label]
    except CxrsslError:
        return None
    if not label or _as_planned(asked, recipe) != recipe:
        return None
    recipe_words = [] if name == "strict" else ["--recipe", name]
    return ["pretrain", "--cohort", description.cohort, *recipe_words, *words, *named]


def _spell(changed: dict[str, Any], base: dict[str, Any]) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the words for settings, those of `--set` alone, and the tables that the other flags change."""
    words: list[str] = []
    overrides: list[str] = []
    changes: dict[str, dict[str, Any]] = {}
    for key, value in changed.items():
        section, _, name = key.partition(".")
        if key == "train.split" and not base.get(key):
            continue  # the default of the cohort, spelt out
        if key in LISTS:
            words += [LISTS[key], name_features(value, ",") if value else NONE]
        elif key in OWN_FLAGS:
            value = value.partition("@")[0] if key == "model.init" else value
            words += [OWN_FLAGS[key], str(value)]
        elif key not in IMPLIED:
            text = value if isinstance(value, str) and value else format_value(value)
            words += ["--set", f"{key}={text}"]
            overrides.append(f"{key}={text}")
            continue
        changes.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
    return words, overrides, changes


def _as_planned(asked: Recipe, recipe: Recipe) -> Recipe:
    """Return what is asked for with what planning spells out: the split, the hash of the start, leave for outcomes."""
    model = replace(asked.model, init=recipe.model.init) if asked.model.init else asked.model
    ehr = replace(asked.ehr, may_use_outcomes=recipe.ehr.may_use_outcomes)
    train = replace(asked.train, split=recipe.train.split) if not asked.train.split else asked.train
    return replace(asked, model=model, ehr=ehr, train=train)
