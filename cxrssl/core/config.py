"""Settings from TOML into frozen dataclasses: unknown keys, wrong types and values out of range are errors with a hint.

A *recipe* changes numbers and is hashed. *Machine* settings must not change numbers and are not.
Field = flag = manifest key: `[views] focal_px` is `--set views.focal_px=96` and `recipe["views"]["focal_px"]`.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cxrssl.core.bounds import check_bounds
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

T = TypeVar("T")


def setting(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    options: Sequence[str] = (),
    needs: str | Sequence[str] = (),
) -> Any:
    """Declare a field with its default, its closed range or its allowed words, and when it acts.

    An option such as `timm:<name>` allows every word that begins with `timm:`. `needs` are conditions on other fields
    that must all hold, as recipe/condition.py reads them. The string under the field says what the field means.
    """
    conditions = (needs,) if isinstance(needs, str) else tuple(needs)
    return dataclasses.field(
        default=default, metadata={"low": low, "high": high, "options": tuple(options), "needs": conditions}
    )


def choice(classes: Mapping[str, type[Any]], default: str) -> dict[str, Any]:
    """Return the metadata of a section whose key `name` chooses one of these dataclasses; left out, it is `default`."""
    return {"choice": classes, "name": default}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise ConfigError with the line that is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("the file does not exist", path) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"not a readable TOML file: {plain(error)}", path) from None


def build_settings(
    cls: type[T], values: Mapping[str, Any], where: str = "", find_home: Callable[[str], str] = lambda key: ""
) -> T:
    """Return an instance of the dataclass `cls` from nested tables; missing keys take their defaults.

    `find_home` returns a hint on an unknown key that is known elsewhere, else nothing.
    Raises: ConfigError for an unknown key (naming its place or the nearest), a wrong type or a value out of range.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            place = f" in [{where}]" if where else ""
            raise ConfigError(
                f'unknown key "{plain(key, 80)}"{place}', hint=find_home(key) or nearest_hint(key, fields)
            )
        name = f"{where}.{key}" if where else key
        section = _section_class(hints[key], fields[key].metadata, value, name)
        if section is not None:
            built[key] = build_settings(section, value, name, find_home)
        else:
            built[key] = _convert(hints[key], value, name)
            check_bounds(fields[key].metadata, built[key], name)
    return cls(**built)


def _section_class(kind: Any, metadata: Mapping[str, Any], value: Any, name: str) -> type[Any] | None:
    """Return the dataclass of a section, None for a plain field."""
    if not dataclasses.is_dataclass(kind):
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f'"{name}" must be a table')
    classes: Mapping[str, type[Any]] | None = metadata.get("choice")
    if classes is None:
        return typing.cast(type[Any], kind)
    chosen = value.get("name", metadata["name"])
    if not isinstance(chosen, str) or chosen not in classes:
        hint = nearest_hint(str(chosen), classes)
        raise ConfigError(f'"{name}.name" cannot be "{plain(chosen, 60)}"', hint=hint)
    _check_owner(classes, chosen, value, name)
    return classes[chosen]


def _check_owner(classes: Mapping[str, type[Any]], chosen: str, keys: Iterable[str], section: str) -> None:
    """Raise ConfigError for a key that the chosen class of a section lacks and another one has."""
    names = {choice: {field.name for field in dataclasses.fields(cls)} for choice, cls in classes.items()}
    for key in keys:
        owners = [choice for choice, known in names.items() if key in known]
        if owners and chosen not in owners:
            what = f'"{section}.{plain(key, 80)}" belongs to {section} "{owners[0]}", and this is "{chosen}"'
            raise ConfigError(what, hint=f'leave it out, or set {section}.name to "{owners[0]}"')


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str], form: str) -> dict[str, Any]:
    """Return `values` with each "section.key=value" set; the value is read as TOML, and as text when that fails.

    `form` is how such words are written, for the hint on one that is not.
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for override in overrides:
        path, equals, text = override.partition("=")
        *sections, key = path.strip().split(".")
        if not equals or not key:
            raise ConfigError(f'"{plain(override, 80)}" is not a setting', hint=f"write {form}")
        table = merged
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f'"{plain(path, 80)}" is not a setting', hint=f'"{section}" is not a section')
        try:
            table[key] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):  # also a number of thousands of digits
            table[key] = text.strip()
    return merged


def merge_tables(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on top, section by section."""
    merged = dict(base)
    for section, values in over.items():
        under = merged.get(section, {})
        if isinstance(values, Mapping) and not isinstance(under, Mapping):
            raise ConfigError(f'"{plain(section, 80)}" must be a table')
        merged[section] = {**under, **values} if isinstance(values, Mapping) else values
    return merged


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None: left out, a field is None; given, it is an X
        return None if value is None else _convert(args[0], value, name)
    if origin is typing.Literal:
        kind = str
    if origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], item, name) for item in value)
        if len(args) == len(value):
            return tuple(_convert(arg, item, name) for arg, item in zip(args, value, strict=True))
    if isinstance(value, int) and value.bit_length() > 64:
        raise ConfigError(f'"{name}" is a number of {value.bit_length():,} bits, which cannot be used for training')
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    raise ConfigError(f'"{name}" must be {describe_kind(kind)}, not {plain(repr(value), 60)}')


def describe_kind(kind: Any) -> str:
    """Return a field's type in words, as "a whole number"."""
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    if isinstance(kind, types.GenericAlias) or typing.get_origin(kind) is tuple:
        args = typing.get_args(kind)
        of_any = "whole numbers" if args[0] is int else "words"
        return f"a list of {of_any}" if args[-1] is Ellipsis else f"a list of {len(args)} numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}.get(kind, str(kind))
