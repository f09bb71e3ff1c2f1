"""The tree of errors as it is drawn, and as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cxrssl.core import errors
from cxrssl.core.errors import CxrsslError


def walk(cls: type[CxrsslError], depth: int = 0) -> Iterator[tuple[str, int, int]]:
    """Yield name, depth and exit code of a class's children, and of theirs."""
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child.__name__, depth, child.exit_code
            yield from walk(child, depth + 1)


def test_the_tree_that_is_drawn_is_the_tree_of_classes_with_their_exit_codes() -> None:
    drawn = re.findall(r"^     ([ |]*)[+`]- (\w+)\S* +([0-9]+) ", errors.__doc__ or "", re.M)
    assert [(name, len(indent) // 4, int(code)) for indent, name, code in drawn] == list(walk(CxrsslError))
