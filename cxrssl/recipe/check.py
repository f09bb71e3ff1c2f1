"""Settings that contradict each other, and settings that have no effect: errors before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from cxrssl.core.errors import ConfigError
from cxrssl.recipe.condition import explain_failure, holds
from cxrssl.recipe.objectives import ObjectiveSettings
from cxrssl.recipe.settings import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Raise ConfigError when settings contradict each other."""
    values, idle = flatten(recipe), find_idle(recipe)
    for name in ("views.global_px", "views.focal_px"):
        if name not in idle and values[name] % recipe.model.patch_px:
            what = f'"{name}" is {values[name]}, not a multiple of "model.patch_px" ({recipe.model.patch_px})'
            raise ConfigError(what)
    for low, high in (recipe.views.global_scale, recipe.views.focal_scale):
        if low > high:
            raise ConfigError(f'a scale range in "views" is upside down: {low} to {high}')
    if recipe.ehr.predict and recipe.ehr.control in ("zeros", "noise"):
        what = f'"ehr.control" is "{recipe.ehr.control}", which predicted features cannot be replaced by'
        raise ConfigError(what, hint="use ehr.control=shuffled")
    recipe.objective.check(values)


def check_effects(settings: Any, asked: set[str]) -> None:
    """Raise ConfigError when a setting that the user asks for, by dotted key, has no effect with the others."""
    for name, reason in find_idle(settings).items():
        if name in asked:
            raise ConfigError(f'"{name}" has no effect: {reason}', hint=f'leave "{name}" out, or change that')


def find_idle(settings: Any) -> dict[str, str]:
    """Return the settings that have no effect with the others, by dotted key, each with the reason."""
    values, idle = flatten(settings), {}
    for name, metadata, _ in _walk(settings):
        failed = [condition for condition in metadata.get("needs", ()) if not holds(condition, values)]
        if failed:
            idle[name] = explain_failure(failed[0], values)
    objective = getattr(settings, "objective", None)
    if isinstance(objective, ObjectiveSettings):
        idle |= dict.fromkeys(objective.idle, f'objective "{objective.name}" makes no use of it')
    return idle


def flatten(settings: Any) -> dict[str, Any]:
    """Return the values of nested dataclasses by dotted key."""
    return {name: value for name, _, value in _walk(settings)}


def _walk(settings: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Yield the dotted key, metadata and value of each field."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.metadata, value
