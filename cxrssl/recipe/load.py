"""Recipes by name or TOML file, and machines, with what the command line changes laid on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from cxrssl.core.config import apply_overrides, build_settings, merge_tables, read_toml
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.recipe.check import check_effects, check_recipe
from cxrssl.recipe.keys import find_home
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import Recipe


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("cxrssl") / "recipe"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def find_recipe(name: str) -> Path:
    """Return the TOML file of a recipe of the package, or of one named by its path."""
    if Path(name).suffix == ".toml":
        return Path(name)
    if name not in recipe_names():
        raise ConfigError(f'no recipe "{plain(name, 80)}"', hint=nearest_hint(name, recipe_names()))
    return Path(str(resources.files("cxrssl") / "recipe" / f"{name}.toml"))


def describe_recipe(name: str) -> str:
    """Return the first sentence of the comment that a recipe of the package begins with."""
    lines = takewhile(lambda line: line.startswith("#"), find_recipe(name).read_text(encoding="utf-8").splitlines())
    return " ".join(line.strip("# ") for line in lines).split(". ")[0].rstrip(".") + "."


def load_recipe(name: str, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe by name or TOML path, with `changes` (nested tables) and then `--set` overrides laid on top.

    Where these name another objective than the recipe, what the recipe says of its own is left out, and what has no
    effect with the other one is passed over: so one recipe can be under the arms of several objectives.

    Raises: ConfigError for an unknown name or key, a wrong value, settings that contradict each other, and a key of the
    user's that has no effect with the others.
    """
    asked = apply_overrides(changes or {}, overrides, "--set section.key=value")
    base, is_own = read_toml(find_recipe(name)), name not in recipe_names()
    is_other = _objective_in(asked, _objective_in(base)) != _objective_in(base)
    if is_other:
        base.pop("objective", None)  # what the recipe says of its own objective
    values = merge_tables(base, asked)
    recipe = build_settings(Recipe, values, find_home=find_home)
    check_recipe(recipe)
    own = values if is_own and not is_other else asked
    check_effects(recipe, {f"{section}.{key}" for section, keys in own.items() for key in keys})
    return recipe


def load_machine(overrides: Sequence[str] = (), device: str = "auto") -> Machine:
    """Return the settings of a machine: its `device`, with `--machine` overrides laid on top.

    Raises: ConfigError for an unknown key, a wrong value, and a key that has no effect with the others.
    """
    asked = apply_overrides({"device": device}, overrides, "--machine key=value")
    machine = build_settings(Machine, asked, find_home=find_home)
    check_effects(machine, set(asked))
    return machine


def _objective_in(tables: Mapping[str, Any], default: object = "msn") -> object:
    section = tables.get("objective", {})
    return section.get("name", default) if isinstance(section, Mapping) else default
