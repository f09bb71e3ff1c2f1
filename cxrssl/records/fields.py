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
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from cxrssl.core.numbers import LARGEST, decode_number, encode_numbers, is_count, number_of
from cxrssl.core.text import plain

T = TypeVar("T")
Place: TypeAlias = tuple[Any, ...]
"""Where a value stands: the place of what it is in, and its name; put into words for a fault alone."""
Read: TypeAlias = Callable[[Any, list[str], Place], Any]
"""Returns what can be used of a value; the rest adds to the faults."""
UNIONS = (types.UnionType, typing.Union)
WORDS: dict[Any, str] = {str: "text", int: "count", float: "number", bool: "true or false"}
WORDS |= {tuple: "list of words", dict: "table", typing.Literal: "known word"}


def read_fields(cls: type[T], values: Any, faults: list[str], where: str = "") -> T:
    """Return an instance of `cls`; what is absent or of a wrong kind is blank and adds to `faults`."""
    return typing.cast(T, _read_dataclass(cls, values, faults, ((), where) if where else ()))


def write_fields(record: Any) -> dict[str, Any]:
    """Return a record ready for JSON: a field that is None is left out, a number that is not finite is null."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: _write(value) for name, value in values.items() if value is not None}


def _write(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return write_fields(value)
    if isinstance(value, Mapping):
        return {key: _write(item) for key, item in value.items()}
    if isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
        return [_write(item) for item in value]
    return encode_numbers(value, as_null=True)


def _read_dataclass(cls: type[Any], values: Any, faults: list[str], place: Place) -> Any:
    fields = _fields_of(typing.cast(Any, cls))
    if not isinstance(values, Mapping):
        faults.append(f'has no table in "{_name(place)}"' if place else "holds no table")
        return cls(**{name: _blank(hint) for name, hint, _, _ in fields})
    built: dict[str, Any] = {}
    for name, hint, is_optional, read in fields:
        if name in values:
            built[name] = read(values[name], faults, (place, name))
        elif not is_optional:
            faults.append(f'lacks "{_name((place, name))}"')
            built[name] = _blank(hint)
    return cls(**built)


def _name(place: Place) -> str:
    """Return a place in words, such as "findings.Edema.auroc"."""
    outer, name = place
    return f"{_name(outer)}.{plain(name, 60)}" if outer else str(name)


@functools.cache
def _fields_of(cls: type[Any]) -> tuple[tuple[str, Any, bool, Read], ...]:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (
            field.name,
            hints[field.name],
            field.default is not missing or field.default_factory is not missing,
            _make_reader(hints[field.name]),
        )
        for field in dataclasses.fields(cls)
    )


def _make_reader(hint: Any) -> Read:
    """Return what reads a value of this kind: records are large, and kinds are looked at once."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value, faults, place: value
    if dataclasses.is_dataclass(hint):
        return functools.partial(_read_dataclass, typing.cast(type[Any], hint))
    if origin in UNIONS:
        inner = _make_reader(args[0])
        return lambda value, faults, place: None if value is None else inner(value, faults, place)
    if hint is float:
        return _read_float
    if origin is dict:
        return functools.partial(_read_dict, _make_reader(args[1]))
    if origin is tuple:
        return functools.partial(_read_tuple, hint, _make_reader(args[0]))
    known: dict[Any, Callable[[Any], bool]] = {
        str: lambda value: isinstance(value, str),
        bool: lambda value: isinstance(value, bool),
        int: is_count,
    }
    return functools.partial(_read_plain, hint, known.get(hint) or (lambda value: value in args))


def _read_plain(hint: Any, is_right: Callable[[Any], bool], value: Any, faults: list[str], place: Place) -> Any:
    return value if is_right(value) else _refuse(hint, faults, place)


def _read_float(value: Any, faults: list[str], place: Place) -> Any:
    if type(value) is float and -LARGEST < value < LARGEST:
        return value
    return number_of(decode_number(value)) if _is_number(value) else _refuse(float, faults, place)


def _read_dict(read: Read, value: Any, faults: list[str], place: Place) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(dict, faults, place)
    return {key: read(item, faults, (place, key)) for key, item in value.items()}


def _read_tuple(hint: Any, read: Read, value: Any, faults: list[str], place: Place) -> Any:
    is_right = isinstance(value, list)
    if is_right and typing.get_args(hint)[0] is str:
        is_right = all(isinstance(item, str) for item in value)
    return tuple(read(item, faults, place) for item in value) if is_right else _refuse(hint, faults, place)


def _refuse(hint: Any, faults: list[str], place: Place) -> Any:
    """Return the replacement of a value that has the wrong type, which is a fault."""
    faults.append(f'has no {WORDS[typing.get_origin(hint) or hint]} in "{_name(place)}"')
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
