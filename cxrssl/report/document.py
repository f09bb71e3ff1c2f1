"""A report as blocks, before any format: what it says, and nothing of how that looks.

In: texts, tables and figures. Out: a Document, which every module of `report.formats` lays out in its own way.
Never: markup. Every text is raw, also one from data, and the format that shows it makes it safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from cxrssl.report.lines import Code as Code
from cxrssl.report.lines import Line as Line
from cxrssl.report.lines import Span as Span
from cxrssl.report.lines import Strong as Strong
from cxrssl.report.tables import ReportTable

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")
Tone: TypeAlias = Literal["", "warning", "note"]


@dataclass(frozen=True)
class Paragraph:
    text: Line
    tone: Tone = ""
    """`warning`: something is wrong with what is reported; `note`: how numbers were made."""


@dataclass(frozen=True)
class Item:
    """A line of a list, with the lines below it."""

    text: Line
    items: Sequence[Item] = ()


@dataclass(frozen=True)
class Listing:
    items: Sequence[Item]
    tone: Tone = ""


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
    is_detail: bool = False
    """Whether a terminal leaves it to the files."""


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
    answer: Sequence[Line] = ()
    """What was found, in a sentence each: it stands before the facts."""

    def walk(self) -> Iterator[Block]:
        """Yield every block, a section before what is in it."""
        yield from _walk(self.blocks)

    @cached_property
    def tables(self) -> list[ReportTable]:
        return [block for block in self.walk() if isinstance(block, ReportTable)]

    @cached_property
    def figures(self) -> list[Figure]:
        return [block for block in self.walk() if isinstance(block, Figure)]

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(block): at for blocks in (self.tables, self.figures) for at, block in enumerate(blocks, 1)}

    def number_of(self, block: ReportTable | Figure) -> int:
        """Return the number of a table among the tables, or of a figure among the figures, from 1."""
        return self._numbers[id(block)]

    def table_name(self, table: ReportTable) -> str:
        """Return the name of the files of a table, without ending: its number, then its title in short."""
        words = re.sub(r"[^a-z0-9]+", "-", (table.short or table.title).lower()).strip("-")
        return f"table-{self.number_of(table):02d}-{words[:40].strip('-')}".rstrip("-")


def file_stem(text: str) -> str:
    """Return a text as the name of a file: letters, digits and "_.+-"; what else it holds becomes "_"."""
    return _UNSAFE.sub("_", text)


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Section):
            yield from _walk(block.blocks)
