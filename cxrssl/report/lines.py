"""A text that reads on, with what stands out in it; raw, so that each format makes it safe in its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Code:
    """An id, a command or the name of a file, set in letters of equal width."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What a reader must not miss."""

    text: str


Span: TypeAlias = str | Code | Strong
Line: TypeAlias = str | Sequence[Span]
"""A text that reads on: plain, or of spans. They follow each other without a space."""


def spans_of(line: Line) -> Sequence[Span]:
    return [line] if isinstance(line, str) else line


def text_of(line: Line) -> str:
    """Return a line without its spans, as a terminal shows it."""
    return "".join(span if isinstance(span, str) else span.text for span in spans_of(line))


def join_lines(lines: Sequence[Line], between: str = " ") -> list[Span]:
    """Return lines as one, those without a text left out."""
    joined: list[Span] = []
    for line in (line for line in lines if text_of(line)):
        joined += [*([between] if joined else []), *spans_of(line)]
    return joined


def join_codes(names: Sequence[str]) -> list[Span]:
    """Return names with a comma between them."""
    return join_lines([[Code(name)] for name in names], ", ")


def map_texts(line: Line, change: Callable[[str], str]) -> Line:
    """Return a line whose plain texts are changed; names stay as they are."""
    if isinstance(line, str):
        return change(line)
    return [change(span) if isinstance(span, str) else span for span in line]
