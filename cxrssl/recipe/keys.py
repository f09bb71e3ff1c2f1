"""Every key of recipes and machines with its type, default, bounds and meaning, as declared; and where a key lives."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cxrssl.core.bounds import describe_limits
from cxrssl.core.config import describe_kind
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.objectives import ObjectiveSettings
from cxrssl.recipe.settings import Recipe


@dataclass(frozen=True)
class Key:
    """One setting."""

    section: str
    """`model`, `views` ...; empty for a key of a machine."""
    name: str
    """As it is set: `views.focal_px`, or `micro_batch` of a machine."""
    objective: str
    """The objective that it belongs to; empty for one that all have."""
    kind: str
    """Its type in words."""
    default: Any
    low: float | None
    high: float | None
    options: tuple[str, ...]
    needs: tuple[str, ...]
    """Conditions that must hold for it to have an effect."""
    owner: type[Any]
    """The dataclass that declares it."""

    @property
    def limits(self) -> str:
        """Its closed range in words; empty if it has none."""
        return describe_limits({"low": self.low, "high": self.high})

    @property
    def doc(self) -> str:
        """What it means: the string under its declaration."""
        return read_docs(self.owner).get(self.name.rpartition(".")[2], "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {key: value for key, value in vars(self).items() if key != "owner"} | {"doc": self.doc}


def recipe_keys() -> list[Key]:
    """Return the keys of a recipe, section by section, with those of every objective."""
    classes = typing.get_type_hints(Recipe)
    keys: list[Key] = []
    for field in dataclasses.fields(Recipe):
        is_chosen = "choice" in field.metadata
        keys += _keys_of_choice(field) if is_chosen else _keys_of(classes[field.name], field.name)
    return keys


def machine_keys() -> list[Key]:
    """Return the keys of a machine."""
    return list(_keys_of(Machine))


def find_home(name: str) -> str:
    """Return a hint on a key that is unknown in its place and known in another; empty if it is known nowhere."""
    homes = [key.name for key in recipe_keys() if key.name.rpartition(".")[2] == name]
    if homes:
        return f'it is "{homes[0]}" of a recipe: cxrssl pretrain --set {homes[0]}=VALUE'
    if any(key.name == name for key in machine_keys()):
        return f"it is a setting of the machine: cxrssl pretrain --machine {name}=VALUE"
    return ""


def _keys_of_choice(field: dataclasses.Field[Any]) -> Iterator[Key]:
    """Yield the key that chooses the class of a section, then the keys of each class."""
    classes, name = field.metadata["choice"], f"{field.name}.name"
    yield Key(field.name, name, "", "word", field.metadata["name"], None, None, tuple(classes), (), ObjectiveSettings)
    for chosen, cls in classes.items():
        yield from (key for key in _keys_of(cls, field.name, chosen) if key.name != name)


def _keys_of(cls: type[Any], section: str = "", objective: str = "") -> Iterator[Key]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        about = field.metadata
        yield Key(
            section=section,
            name=f"{section}.{field.name}" if section else field.name,
            objective=objective,
            kind=describe_kind(hints[field.name]).removeprefix("a "),
            default=field.default,
            low=about.get("low"),
            high=about.get("high"),
            options=about.get("options", ()),
            needs=about.get("needs", ()),
            owner=cls,
        )


def read_docs(cls: type[Any]) -> dict[str, str]:
    """Return the string under each field of a dataclass and its bases; none where the source is not there."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            source = inspect.getsource(base) if dataclasses.is_dataclass(base) else ""
        except OSError:
            continue
        parsed = ast.parse(textwrap.dedent(source)).body
        body = parsed[0].body if parsed and isinstance(parsed[0], ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    docs[name] = " ".join(doc.split())
    return docs
