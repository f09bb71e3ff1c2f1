"""A recipe as TOML that can be edited and given back, and what two recipes differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cxrssl.core.text import valid
from cxrssl.recipe.check import find_idle, flatten
from cxrssl.recipe.keys import recipe_keys
from cxrssl.recipe.settings import Recipe


@dataclass(frozen=True)
class Difference:
    """A key whose values differ; None where one of the recipes does not have the key."""

    key: str
    values: tuple[Any, Any]
    is_idle: tuple[bool, bool]
    """Whether it has no effect with the other settings of its recipe."""

    @property
    def sides(self) -> Iterator[tuple[Any, bool]]:
        """Value and idleness in the first recipe, then in the second."""
        return zip(self.values, self.is_idle, strict=True)


def to_toml(recipe: Recipe) -> str:
    """Return a TOML file of every setting. Defaults that have no effect are comments that say why.

    Another value that has no effect stays: with other flags, as `--ehr`, it has one; without them it is refused.
    """
    idle, defaults = find_idle(recipe), _defaults_of(recipe)
    lines: list[str] = []
    for name, value in flatten(recipe).items():
        section, _, key = name.rpartition(".")
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        line = f"{key} = {format_value(value)}"
        mark = "# " if name in idle and value == defaults[name] else ""
        lines.append(f"{mark}{line}" + (f"  # no effect: {idle[name]}" if name in idle else ""))
    return "\n".join(lines[1:])


def _defaults_of(recipe: Recipe) -> dict[str, Any]:
    return {key.name: key.default for key in recipe_keys() if key.objective in ("", recipe.objective.name)}


def format_value(value: Any) -> str:
    """Return a setting as TOML writes it, and nothing for None."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, str):
        return _quote(value)
    return "" if value is None else json.dumps(value)


def _quote(text: str) -> str:
    """Return a basic string of TOML in ASCII; JSON's halves of a character, and its raw DEL, are none."""
    escaped = valid(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if " " <= char <= "~" else f"\\U{ord(char):08x}" for char in escaped) + '"'


def find_differences(first: Recipe, second: Recipe) -> list[Difference]:
    """Return the keys whose values differ, in the order of the sections."""
    values, idle = [flatten(recipe) for recipe in (first, second)], [find_idle(recipe) for recipe in (first, second)]
    pairs = {key: (values[0].get(key), values[1].get(key)) for key in {**values[0], **values[1]}}
    return [
        Difference(key, pair, (key in idle[0], key in idle[1])) for key, pair in pairs.items() if pair[0] != pair[1]
    ]
