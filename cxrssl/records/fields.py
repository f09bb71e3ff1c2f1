"""Frozen dataclasses to JSON, and back from JSON that anything may have written.

In: a dataclass and a decoded value. Out: an instance, blank where the value cannot be used, and the faults as
predicates. A field with a default may be absent: older versions did not write it. An unknown key is of a newer version.
Never: an exception for what the value holds.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from cxrssl.core.numbers import decode_number, encode_numbers, is_count, number_of
from cxrssl.core.text import plain

T = TypeVar("T")
UNIONS = (types.UnionType, typing.Union)
WORDS: dict[Any, str] = {str: "text", int: "count", float: "number", bool: "true or false"}
WORDS |= {tuple: "list of words", dict: "table", typing.Literal: "known word"}


def read_fields(cls: type[T], values: Any, faults: list[str], where: str = "") -> T:
    """Return an instance of `cls`; what is absent or of a wrong kind is blank and adds to `faults`."""
    fields = _fields_of(typing.cast(Any, cls))
    if not isinstance(values, Mapping):
        faults.append(f'has no table in "{where}"' if where else "holds no table")
        return cls(**{name: _blank(hint) for name, hint, _ in fields})
    built: dict[str, Any] = {}
    for name, hint, is_optional in fields:
        place = f"{where}.{name}" if where else name
        if name in values:
            built[name] = _read(hint, values[name], faults, place)
        elif not is_optional:
            faults.append(f'lacks "{place}"')
            built[name] = _blank(hint)
    return cls(**built)


def write_fields(record: Any) -> dict[str, Any]:
    """Return a record ready for JSON: a field that is None is left out, a number that is not finite is null."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: _write(value) for name, value in values.items() if value is not None}


def _write(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return write_fields(value)
    if isinstance(value, Mapping):
        return {key: _write(item) for key, item in value.items()}
    return encode_numbers(value, as_null=True)


@functools.cache
def _fields_of(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (field.name, hints[field.name], field.default is not missing or field.default_factory is not missing)
        for field in dataclasses.fields(cls)
    )


def _read(hint: Any, value: Any, faults: list[str], where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return None if value is None else _read(args[0], value, faults, where)
    if dataclasses.is_dataclass(hint):
        return read_fields(typing.cast(type[Any], hint), value, faults, where)
    if origin is dict and isinstance(value, Mapping):
        return {key: _read(args[1], item, faults, f"{where}.{plain(key, 60)}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list) and (args[0] is not str or all(isinstance(i, str) for i in value)):
        return tuple(_read(args[0], item, faults, where) for item in value)
    if origin is typing.Literal and value in args:
        return value
    if hint is Any or (hint is str and isinstance(value, str)) or (hint is bool and isinstance(value, bool)):
        return value
    if hint is int and is_count(value):
        return value
    if hint is float and _is_number(value):
        return number_of(decode_number(value))
    faults.append(f'has no {WORDS[origin or hint]} in "{where}"')
    return _blank(hint)


def _is_number(value: Any) -> bool:
    """Null is a number that is not defined."""
    return value is None or (isinstance(decode_number(value), int | float) and not isinstance(value, bool))


def _blank(hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in UNIONS or hint is Any:
        return None
    if origin is typing.Literal:
        return typing.get_args(hint)[0]
    if dataclasses.is_dataclass(hint):
        return read_fields(typing.cast(type[Any], hint), {}, [])
    if origin is not None:
        return origin()
    return math.nan if hint is float else hint()
