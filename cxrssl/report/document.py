"""A report as blocks, before any format: what it says, and nothing of how that looks.

In: texts, tables and figures. Out: a Document, which every module of `report.formats` lays out in its own way.
Never: markup. Every text is raw, also one from data, and the format that shows it makes it safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cxrssl.report.tables import ReportTable

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")


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


@dataclass(frozen=True)
class Paragraph:
    text: Line
    tone: Literal["", "warning", "note"] = ""
    """`warning`: something is wrong with what is reported; `note`: how numbers were made."""


@dataclass(frozen=True)
class Item:
    """A line of a list, with the lines below it."""

    text: Line
    items: Sequence[Item] = ()


@dataclass(frozen=True)
class Listing:
    items: Sequence[Item]


@dataclass(frozen=True)
class Figure:
    """A picture in the forms that formats want: SVG stands in the page, PDF in print, PNG where neither is shown."""

    name: str
    """Of its files, without ending; see `file_stem`."""
    title: str
    """One sentence below it."""
    alt: str
    """What it shows, with the numbers that matter, for those who cannot see it."""
    svg: bytes
    """A whole document that needs nothing outside itself."""
    pdf: bytes = b""
    png: bytes = b""

    def files(self) -> dict[str, bytes]:
        """Return the content of its files by name."""
        named = {"svg": self.svg, "pdf": self.pdf, "png": self.png}
        return {f"{self.name}.{ending}": content for ending, content in named.items() if content}


@dataclass(frozen=True)
class Section:
    """A heading with what is below it; its level is its depth."""

    title: str
    blocks: Sequence[Block]


Block: TypeAlias = Section | Paragraph | Listing | ReportTable | Figure


@dataclass(frozen=True)
class Fact:
    """One of the facts that stand above all else, such as the cohort or the commit."""

    name: str
    text: Line


@dataclass(frozen=True)
class Document:
    title: str
    headline: Line
    """What a reader must know before any number: what was selected on test, which outcomes were inputs."""
    facts: Sequence[Fact]
    blocks: Sequence[Block]

    def walk(self) -> Iterator[Block]:
        """Yield every block, a section before what is in it."""
        yield from _walk(self.blocks)

    def tables(self) -> list[ReportTable]:
        return [block for block in self.walk() if isinstance(block, ReportTable)]

    def figures(self) -> list[Figure]:
        return [block for block in self.walk() if isinstance(block, Figure)]


def spans_of(line: Line) -> Sequence[Span]:
    return [line] if isinstance(line, str) else line


def text_of(line: Line) -> str:
    """Return a line without its spans, as a terminal shows it."""
    return "".join(span if isinstance(span, str) else span.text for span in spans_of(line))


def file_stem(text: str) -> str:
    """Return a text as the name of a file: letters, digits and "_.+-"; what else it holds becomes "_"."""
    return _UNSAFE.sub("_", text)


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Section):
            yield from _walk(block.blocks)
