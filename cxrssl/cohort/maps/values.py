"""Values of a parsed TOML, taken with a sentence where they are of another kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain


def as_table(value: Any, name: str) -> dict[str, Any]:
    """Return a table, or raise ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f'"{plain(name, 80)}" must be a table')
    return dict(value)


def as_tables(value: Any, name: str) -> list[dict[str, Any]]:
    """Return the tables of [name] or [[name]]; none where it is left out."""
    if value is None:
        return []
    return [as_table(each, name) for each in (value if isinstance(value, list) else [value])]


def cells_of(value: Any, name: str) -> tuple[str, ...]:
    """Return a list of cells, or raise ConfigError: one text alone would be taken for its letters."""
    if not isinstance(value, list) or not all(isinstance(cell, str) for cell in value):
        raise ConfigError(f'"{plain(name, 80)}" must be a list of cells', hint='write ["...", "..."]')
    return tuple(value)


def text_of(value: Any, where: str, key: str) -> str:
    """Return a text that is not empty, or raise ConfigError that names the key."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f'[{where}] needs the key "{key}"')
    return value


def check_keys(values: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ConfigError for a key that is not known here, naming the nearest."""
    names = list(known)
    for key in values:
        if key not in names:
            place = f" in [{where}]" if where else ""
            raise ConfigError(f'unknown key "{plain(key, 80)}"{place}', hint=nearest_hint(key, names))
