"""A report as one page of HTML that needs nothing outside itself: no network, no script, light and dark, to be printed.

In: a document, whose texts may come from data. Out: HTML in UTF-8.
Never: a text from data that becomes markup, an address or a control character; an element that loads something.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape as escape_html
from importlib import resources

from cxrssl.core.text import count_noun, plain
from cxrssl.report.cells import Cell, Estimate, Number, show_cell
from cxrssl.report.document import Block, Document, Figure, Item, Listing, Paragraph, Section
from cxrssl.report.fold import Part, fold_table
from cxrssl.report.formats.contents import Contents, list_contents
from cxrssl.report.lines import Code, Line, Strong, spans_of
from cxrssl.report.tables import ReportTable

ROOM, GAP = 132, 3
"""Places of a line of a table: what a page of 1,280 pixels, and A4, have room for."""
MAX_LINE, MAX_CELL = 5000, 300
SHOWN_PX = 1008
"""Width of a figure that fills a page of a journal, that of a column half of it: letters of 6 points are 12 px high."""
_SVG_WIDTH = re.compile(rb'<svg\b[^>]*?\swidth="([\d.]+)(pt|px)?"')
MAX_OPEN = 20
"""Rows of a table that stand open: a longer one is folded."""
HALF_PX = 600
"""Narrower files of figures are for a column."""


def write_html(document: Document) -> str:
    """Return the page."""
    style = (resources.files("cxrssl.report.formats") / "page.css").read_text(encoding="utf-8")
    facts = "".join(
        f"<div><dt>{escape(fact.name)}</dt><dd>{line_text(fact.text)}</dd></div>" for fact in document.facts
    )
    title, contents = escape(document.title), list_contents(document)
    answer = "".join(f"<p>{line_text(line)}</p>" for line in document.answer)
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>",
        '<a class="skip" href="#main">Skip to the results</a>',
        f'<header>\n<h1>{title}</h1>\n<p class="headline">{line_text(document.headline)}</p>',
        f'<div class="answer">{answer}</div>' if answer else "",
        f'<dl class="facts">{facts}</dl>\n</header>' if facts else "</header>",
        contents.to_html(),
        '<main id="main">',
        *_write_blocks(document, contents, document.blocks, 2),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(line for line in lines if line)


def _write_blocks(
    document: Document, contents: Contents, blocks: Sequence[Block], level: int, is_folded: bool = False
) -> Iterator[str]:
    """Yield blocks; a table that is all of a section that is folded is not folded once more."""
    for block in blocks:
        if isinstance(block, Section):
            yield from _write_section(document, contents, block, level)
        elif isinstance(block, ReportTable):
            yield _write_table(document, contents, block, level, is_alone=is_folded and len(blocks) == 1)
        elif isinstance(block, Listing):
            yield _write_items(block.items, block.tone)
        elif isinstance(block, Figure):
            yield _write_figure(document, block)
        else:
            yield _write_paragraph(block)


def _write_section(document: Document, contents: Contents, section: Section, level: int) -> Iterator[str]:
    anchor, name = contents.anchor_of(section), escape(contents.name_of(section))
    tag = "section" if level == 2 else "div"  # a landmark is for the parts of a page alone
    label = f' aria-labelledby="{anchor}-name"' if level == 2 else ""
    heading = f'<h{level} id="{anchor}-name">{name}</h{level}>'
    inner = "\n".join(_write_blocks(document, contents, section.blocks, min(level + 1, 6), section.is_detail))
    yield f"<{tag}{label}>"
    yield _fold(anchor, heading, _count_inside(section), inner) if section.is_detail else _open(anchor, heading, inner)
    yield f"</{tag}>"


def _open(anchor: str, heading: str, inner: str) -> str:
    return f'<div id="{anchor}">\n{heading}\n{inner}\n</div>'


def _fold(anchor: str, heading: str, hint: str, inner: str) -> str:
    """Return what opens at a click, in print, by a search in the page and by a link to what is inside."""
    said = f' <span class="hint">{hint}</span>' if hint else ""
    summary = f"<summary>{heading}{said}</summary>"
    return f'<details>\n{summary}\n<div id="{anchor}" class="inside">\n{inner}\n</div>\n</details>'


def _count_inside(section: Section) -> str:
    """Return how many tables and figures a section has; of one table alone its rows."""
    blocks = list(Document("", "", (), section.blocks).walk())
    tables = [each for each in blocks if isinstance(each, ReportTable)]
    num_figures = sum(isinstance(each, Figure) for each in blocks)
    if len(tables) == 1 and not num_figures:
        return count_noun(len(tables[0].rows), "row")
    counts = [count_noun(num, noun) for num, noun in ((len(tables), "table"), (num_figures, "figure")) if num]
    return ", ".join(counts)


def _write_paragraph(paragraph: Paragraph) -> str:
    kind = f' class="{paragraph.tone}"' if paragraph.tone else ""
    return f"<p{kind}>{line_text(paragraph.text)}</p>"


def _write_items(items: Sequence[Item], tone: str = "") -> str:
    kind = f' class="{tone}"' if tone else ""
    inner = "".join(
        f"<li>{line_text(item.text)}{_write_items(item.items) if item.items else ''}</li>\n" for item in items
    )
    return f"<ul{kind}>\n{inner}</ul>" if items else ""


def _write_figure(document: Document, figure: Figure) -> str:
    number = document.number_of(figure)
    data = base64.b64encode(figure.svg).decode()
    alt = escape(figure.alt, MAX_LINE)
    image = f'<img{_size_of(figure.svg)} src="data:image/svg+xml;base64,{data}" alt="{alt}">'
    picture = f'<div class="picture" tabindex="0" role="group" aria-label="Figure {number}">{image}</div>'
    caption = f'<span class="number">Figure {number}.</span> {escape(figure.title)}'
    return f'<figure id="figure-{number}">\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>'


def _size_of(svg: bytes) -> str:
    """Return the width at which a page shows a figure, in pixels; nothing where its file says none."""
    if not (found := _SVG_WIDTH.search(svg)):
        return ""
    width_px = float(found[1]) * (96 / 72 if found[2] == b"pt" else 1)
    return f' width="{SHOWN_PX if width_px >= HALF_PX else SHOWN_PX // 2}"'


def _write_table(document: Document, contents: Contents, table: ReportTable, level: int, is_alone: bool) -> str:
    number, anchor = document.number_of(table), contents.anchor_of(table)
    parts = fold_table(table, ROOM, GAP)
    heading = f"<h{level}>{escape(contents.name_of(table))}</h{level}>"
    about = f'<span class="number">Table {number}.</span> {escape(table.short or table.title)}'
    shown = [
        _write_part(table, part, about if at == 1 else f"{about} <i>(part {at} of {len(parts)})</i>")
        for at, part in enumerate(parts, 1)
    ]
    notes = "".join(f"<p>{line_text(note)}</p>" for note in table.notes_in_bold)
    below = f'<div class="notes">{notes}</div>' if notes else ""
    inner = "\n".join([*shown, *([below] if below else [])])
    if (table.is_detail or len(table.rows) > MAX_OPEN) and not is_alone:
        whole = _fold(anchor, heading, count_noun(len(table.rows), "row"), inner)
    else:
        whole = _open(anchor, heading, inner)
    return f'<div class="table">\n{whole}\n</div>'


def _write_part(table: ReportTable, part: Part, caption: str) -> str:
    best = table.best()
    kinds = {at: _kind_of([row[at] for row in table.rows]) for at in part.columns}
    below = _list_below(table, part, kinds)
    kinds |= {at: f"{kinds[at]} below" for at in below}
    head = "".join(f'<th scope="col" class="{kinds[at]}">{escape(table.columns[at])}</th>' for at in part.columns)
    rows = []
    for number in part.rows:
        row = table.rows[number]
        cells = []
        for at in part.columns:
            text = _cell_text(row[at], (number, at) in best)
            more = _write_below([(table.columns[each], row[each]) for each in below]) if at == 0 else ""
            cells.append(f'<th scope="row">{text}{more}</th>' if at == 0 else f'<td class="{kinds[at]}">{text}</td>')
        kind = ' class="quoted"' if number in table.quoted else ""
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(table.short or table.title)}">\n<table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _list_below(table: ReportTable, part: Part, kinds: Mapping[int, str]) -> list[int]:
    """Return the columns that a phone shows below the name of a row: texts between it and the first number."""
    first = next((place for place, at in enumerate(part.columns) if kinds[at] != "text"), table.keys)
    return [at for at in part.columns[1 : max(first, 1)] if at != 0]


def _write_below(cells: Sequence[tuple[str, Cell]]) -> str:
    shown = [f"{escape(column)}: {escape(text, MAX_CELL)}" for column, cell in cells if (text := show_cell(cell))]
    return f'<span class="more">{" · ".join(shown)}</span>' if shown else ""


def _kind_of(cells: Sequence[Cell]) -> str:
    """Return how a column is set: numbers flush right, estimates in figures of equal width, texts as they come."""
    if cells and all(isinstance(cell, int | Number) or cell == "" for cell in cells):
        return "num"
    return "est" if any(isinstance(cell, Estimate) for cell in cells) else "text"


def _cell_text(cell: Cell, is_best: bool) -> str:
    if not isinstance(cell, Estimate):
        text = escape(show_cell(cell), MAX_CELL)
        return f"<strong>{text}</strong>" if is_best else text
    value, _, rest = show_cell(cell).partition(" ")
    if not rest.startswith("["):
        return escape(show_cell(cell))
    shown = f"<strong>{escape(value)}</strong>" if is_best else escape(value)
    return f"{shown} <span>{escape(rest)}</span>"


def line_text(line: Line) -> str:
    """Return a line with its spans."""
    tags = {Code: "code", Strong: "strong"}
    return "".join(
        escape(span, MAX_LINE)
        if isinstance(span, str)
        else f"<{tags[type(span)]}>{escape(span.text, MAX_LINE)}</{tags[type(span)]}>"
        for span in spans_of(line)
    )


def escape(text: str, max_chars: int = 500) -> str:
    """Return a text as HTML shows it, also between quotes."""
    return escape_html(plain(text, max_chars))
