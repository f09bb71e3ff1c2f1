"""Settings from TOML into frozen dataclasses: unknown keys, wrong types and values out of range are errors with a hint.

A *recipe* changes numbers and is hashed. *Machine* settings must not change numbers and are not.
Field = flag = manifest key: `[views] focal_px` is `--set views.focal_px=96` and `recipe["views"]["focal_px"]`.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

T = TypeVar("T")


def setting(default: Any, *, low: float | None = None, high: float | None = None, options: Sequence[str] = ()) -> Any:
    """Declare a field with its default, its closed range or its allowed words."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "options": tuple(options)})


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise ConfigError with the line that is wrong."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError("the file does not exist", path) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"not a readable TOML file: {plain(error)}", path) from None


def build_settings(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Return an instance of the dataclass `cls` from nested tables; missing keys take their defaults.

    Raises: ConfigError for an unknown key (naming the nearest), a wrong type or a value out of range.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            place = f" in [{where}]" if where else ""
            raise ConfigError(f'unknown key "{plain(key, 80)}"{place}', hint=nearest_hint(key, fields))
        name = f"{where}.{key}" if where else key
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f'"{name}" must be a table')
            built[key] = build_settings(typing.cast(type[Any], hints[key]), value, name)
        else:
            built[key] = _convert(hints[key], value, name)
            _check_range(fields[key].metadata, built[key], name)
    return cls(**built)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with each "section.key=value" set; the value is read as TOML, and as text when that fails."""
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for override in overrides:
        path, equals, text = override.partition("=")
        *sections, key = path.strip().split(".")
        if not equals or not key:
            raise ConfigError(f'"{plain(override, 80)}" is not a setting', hint="write --set section.key=value")
        table = merged
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f'"{plain(path, 80)}" is not a setting', hint=f'"{section}" is not a section')
        try:
            table[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            table[key] = text.strip()
    return merged


def merge_tables(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on top, section by section."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping):
            under = merged.get(key, {})
            if not isinstance(under, Mapping):
                raise ConfigError(f'"{key}" must be a table')
            merged[key] = merge_tables(under, value)
        else:
            merged[key] = value
    return merged


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        kind = str
    if origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], item, name) for item in value)
        if len(args) == len(value):
            return tuple(_convert(arg, item, name) for arg, item in zip(args, value, strict=True))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    raise ConfigError(f'"{name}" must be {_describe(kind)}, not {plain(repr(value), 60)}')


def _describe(kind: Any) -> str:
    if isinstance(kind, types.GenericAlias) or typing.get_origin(kind) is tuple:
        args = typing.get_args(kind)
        return "a list of words" if args[-1] is Ellipsis else f"a list of {len(args)} numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}.get(kind, str(kind))


def _check_range(metadata: Mapping[str, Any], value: Any, name: str) -> None:
    low, high, options = metadata.get("low"), metadata.get("high"), metadata.get("options", ())
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, str):
            if options and number not in options:
                raise ConfigError(f'"{name}" cannot be "{plain(number, 60)}"', hint=nearest_hint(number, options))
        elif not math.isfinite(number):
            raise ConfigError(f'"{name}" is {number}, which is no number to train with')
        elif (low is not None and number < low) or (high is not None and number > high):
            limits = (
                f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
            )
            raise ConfigError(f'"{name}" is {number}, but must be {limits}')
