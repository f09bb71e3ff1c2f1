"""The contents of a page: a name for each section, table and figure that no other has, as links to their anchors.

In: a document. Out: names and HTML. Never: two entries that read the same.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cxrssl.core.text import plain
from cxrssl.report.document import Block, Document, Figure, Section
from cxrssl.report.tables import ReportTable

MAX_NAME = 200
MARKS = ".,:;"
MAX_APART = 60
"""Letters of what tells a name from another."""


@dataclass(frozen=True)
class Entry:
    """A section, table or figure."""

    block: Section | ReportTable | Figure
    anchor: str
    short: str
    wholes: tuple[str, ...]
    """What else tells it from entries whose short name is the same; the first where that differs, and so on."""
    entries: Sequence[Entry]
    """Those inside."""

    @property
    def shown(self) -> Sequence[Entry]:
        """Those inside that contents list: not the table that is all of a section, which names it well enough."""
        is_alone = isinstance(self.block, Section) and len(self.block.blocks) == 1
        return () if is_alone and self.entries and isinstance(self.entries[0].block, ReportTable) else self.entries

    def walk(self, is_shown: bool = False) -> Iterator[Entry]:
        """Yield it, and what is in it."""
        yield self
        for each in self.shown if is_shown else self.entries:
            yield from each.walk(is_shown)


@dataclass(frozen=True)
class Contents:
    """The entries of a document, and what they are called."""

    entries: Sequence[Entry]
    names: Mapping[str, str]
    """By anchor."""
    anchors: Mapping[int, str]
    """By the identity of a block, which its value does not tell: two may be equal."""

    def name_of(self, block: Section | ReportTable | Figure) -> str:
        return self.names[self.anchor_of(block)]

    def anchor_of(self, block: Section | ReportTable | Figure) -> str:
        return self.anchors[id(block)]

    def to_html(self) -> str:
        """Return them as a list of links; nothing where there are none."""
        items = self._list(self.entries)
        return f'<nav aria-label="Contents">\n<p class="nav-title">Contents</p>\n{items}\n</nav>' if items else ""

    def _list(self, entries: Sequence[Entry]) -> str:
        items = "".join(
            f'<li><a href="#{each.anchor}">{escape(self.names[each.anchor])}</a>{self._list(each.shown)}</li>'
            for each in entries
        )
        return f"<ul>{items}</ul>" if items else ""


def list_contents(document: Document) -> Contents:
    """Return the contents of a document."""
    entries = _list_entries(document, document.blocks, (), "")
    every = [each for entry in entries for each in entry.walk()]
    names = {each.anchor: each.short for each in every}
    names |= _name_apart([each for entry in entries for each in entry.walk(is_shown=True)])
    return Contents(entries, names, {id(each.block): each.anchor for each in every})


def _list_entries(document: Document, blocks: Sequence[Block], place: tuple[int, ...], above: str) -> list[Entry]:
    entries = []
    for at, block in enumerate(blocks, 1):
        if isinstance(block, Section):
            own, title = (*place, at), plain(block.title, MAX_NAME)
            inside = _list_entries(document, block.blocks, own, title)
            entries.append(Entry(block, f"section-{'-'.join(map(str, own))}", title, (above,), inside))
        elif isinstance(block, ReportTable):
            short = plain(block.short or block.title, MAX_NAME)
            wholes = above, plain(block.title, 500)
            entries.append(Entry(block, f"table-{document.number_of(block)}", short, wholes, ()))
        elif isinstance(block, Figure):
            title = plain(block.title, 500)
            number = document.number_of(block)
            entries.append(Entry(block, f"figure-{number}", _begin(title), (title, above), ()))
    return entries


def _begin(title: str) -> str:
    """Return what a figure is, without what it is of: a list of contents has no room for its caption."""
    return re.split(r" (?:of|on) ", title, maxsplit=1)[0][:MAX_NAME]


def _name_apart(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the names by anchor: where several are alike, each with the words in which it differs from the others."""
    alike: dict[str, list[Entry]] = {}
    for entry in entries:
        alike.setdefault(entry.short, []).append(entry)
    names = {}
    for short, group in alike.items():
        told = [texts for texts in zip(*(each.wholes for each in group), strict=False) if len(set(texts)) == len(group)]
        differing = _keep_differing(told[0]) if told and len(group) > 1 else [""] * len(group)
        for each, apart in zip(group, differing, strict=True):
            names[each.anchor] = f"{short}: {apart}" if apart else short
    return _count_equal(names)


def _keep_differing(texts: Sequence[str]) -> list[str]:
    """Return of each text the words that not all share at its beginning and end, in short where that tells enough."""
    words = [text.split() for text in texts]
    bare = [[word.strip(MARKS) for word in each] for each in words]
    least = min(map(len, words))
    first = next((k for k in range(least) if len({each[k] for each in bare}) > 1), least)
    last = next((k for k in range(least - first) if len({each[-1 - k] for each in bare}) > 1), least - first)
    whole = [" ".join(each[first : len(each) - last]).strip(f" {MARKS}") for each in words]
    brief = [re.split(r"[:;(]|, | minus ", each, maxsplit=1)[0].strip() for each in whole]
    shown = brief if len(set(brief)) == len(brief) and all(brief) else whole
    return [textwrap.shorten(each, MAX_APART, placeholder=" …") for each in shown]


def _count_equal(names: Mapping[str, str]) -> dict[str, str]:
    """Return names with a number behind those that still are equal."""
    total, seen = Counter(names.values()), Counter[str]()
    numbered = {}
    for anchor, name in names.items():
        seen[name] += 1
        numbered[anchor] = f"{name} ({seen[name]} of {total[name]})" if total[name] > 1 else name
    return numbered
