"""The last look at what leaves the hospital: no text of it names a subject, a film, a path, a host or a user.

In: the texts of an archive, and who must not be in them. Out: nothing, or a refusal that does not repeat the name.
Never: the only guard: what is written is chosen field by field, and texts that data or users wrote are few.
"""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cxrssl.core.errors import DataError
from cxrssl.core.text import plain

PATH = re.compile(r"(?:^|[\s\"'=(,;])(?:~?/[\w.~-]|[A-Za-z]:[\\/]|\\\\)")
"""The beginning of a path."""
PART = re.compile(r"[A-Za-z0-9]+")
TOKEN = re.compile(r"[A-Za-z0-9][\w.-]*")
MIN_CHARS, MIN_DIGITS, MIN_NAME = 5, 6, 3
"""An id of fewer characters, or digits, is in any text by chance."""
ANYBODY = frozenset({"root", "user", "admin", "ubuntu", "localhost", "vm", "host", "linux", "runner", "guest"})
"""Names of users and hosts that say nothing of anybody."""


@dataclass(frozen=True)
class Names:
    """Who must not be named."""

    ids: frozenset[str]
    """Of subjects and films."""
    people: frozenset[str]
    """The user and the host, in small letters."""

    @classmethod
    def of(cls, ids: Iterable[str]) -> Names:
        """Return the names that go with these ids, and those of this machine."""
        long = (each for each in ids if len(each) >= (MIN_DIGITS if each.isdecimal() else MIN_CHARS))
        return cls(frozenset(long), frozenset(_people()))


def check_texts(value: Any, names: Names, where: str) -> None:
    """Raise DataError when a text of `value`, keys included, names somebody of `names` or holds a path."""
    for text in _texts(value):
        kind = find_name(text, names)
        if kind:
            what = f"{where} holds {kind}, and nothing that leaves may: nothing was written"
            raise DataError(what, hint="look for it in the names of the run and of the cohort, and in the recipe")


def find_name(text: str, names: Names) -> str:
    """Return what a text names, in words; "" where it names nobody."""
    tokens = {text, *TOKEN.findall(text), *PART.findall(text)}
    tokens |= {token.rpartition(".")[0] for token in tokens}
    if not tokens.isdisjoint(names.ids):
        return "the id of a subject or a film"
    if not {token.lower() for token in tokens}.isdisjoint(names.people):
        return "the name of a user or a host"
    return "a path" if PATH.search(text) else ""


def _people() -> Iterator[str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    node = platform.node()
    for name in (user, node, node.partition(".")[0]):
        small = plain(name, 200).lower()
        if len(small) >= MIN_NAME and small not in ANYBODY:
            yield small


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
