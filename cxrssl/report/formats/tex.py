"""A report in LaTeX: a document that compiles by itself, and each table as a fragment for a paper.

In: a document, whose texts may come from data. Out: LaTeX in ASCII, with booktabs and longtable.
Never: a text from data that runs a command, opens a file or breaks its row; a character that pdflatex does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from cxrssl.core.text import plain
from cxrssl.report.cells import Cell, Estimate, show_cell
from cxrssl.report.document import Block, Document, Figure, Item, Listing, Paragraph, Section
from cxrssl.report.fold import Part, fold_table
from cxrssl.report.lines import Line, Span, Strong, spans_of
from cxrssl.report.tables import ReportTable

ROOM, GAP = 112, 3
"""Places of a line of a table in \\footnotesize."""
PLACE_MM = 1.62
MAX_LINE = 5000
NARROW_IN = 5.0
"""Narrower figures are printed as they were drawn: a wider line would make their letters larger."""
LEVELS = ("section", "subsection", "subsubsection", "paragraph")
PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=18mm]{geometry}
\usepackage{array,booktabs,longtable,graphicx,xcolor}
\setlength{\parindent}{0pt}
\setlength{\parskip}{5pt}
\setlength{\tabcolsep}{4pt}
\setlength{\LTcapwidth}{\linewidth}
\renewcommand{\topfraction}{0.9}
\renewcommand{\bottomfraction}{0.9}
\renewcommand{\textfraction}{0.05}
\renewcommand{\floatpagefraction}{0.85}
\sloppy
"""
_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": "{'}", "`": "{`}", "-": "{-}", "[": "{[}", "]": "{]}",
    "*": "{*}", ",": "{,}", "!": "{!}", "?": "{?}", "–": "--", "—": "---", "…": r"\dots{}", "−": r"$-$", "±": r"$\pm$",
    "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "·": r"\textperiodcentered{}", "ß": r"\ss{}",
}  # fmt: skip
"""Signs that are commands, or that a ligature or an optional argument could begin with, as they are printed."""
_PLAIN = re.compile(r"[A-Za-z0-9 .:;/()+=]*")
_BOX = re.compile(rb"/MediaBox \[ ?0 0 ([0-9.]+) ")
_BREAK = re.compile(r"\{-\}|(?<![-$])-(?![-$])|\\_|/(?=.)")
"""Where a line may end within code, such as the id of a run, which LaTeX never breaks."""
_LIGATURES = frozenset("-,!?'`")
_ACCENTS = {"\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"", "\u0327": r"\c"}


def write_tex(document: Document, folder: str = "tables") -> str:
    """Return the document, which takes its tables from the fragments in `folder`."""
    facts = [Item([Strong(f"{fact.name}: "), *spans_of(fact.text)]) for fact in document.facts]
    body = [rf"\section*{{{escape(document.title)}}}", line_text(document.headline)]
    body += [*map(line_text, document.answer), _write_items(facts)]
    body += _write_blocks(document, document.blocks, 0, folder)
    text = "\n\n".join(each for each in body if each)
    return f"{PREAMBLE}\\begin{{document}}\n\n{text}\n\n\\end{{document}}\n"


def write_table(table: ReportTable, label: str) -> str:
    """Return a table as a fragment to be taken in by \\input: a part for each line that it does not fit."""
    parts = fold_table(table, ROOM, GAP)
    caption = f"\\caption{{{escape(table.title)}}}\\label{{tab:{label}}}"
    lines = [f"% needs booktabs, longtable, array, xcolor; best of a column in bold: {'yes' if table.best() else 'no'}"]
    for number, part in enumerate(parts, 1):
        head = caption if number == 1 else rf"\caption[]{{(continued, part {number} of {len(parts)})}}"
        lines.append(_write_part(table, part, head, is_counted=number == 1))
    if table.notes_in_bold:
        notes = r"\par ".join(line_text(note) for note in table.notes_in_bold)
        lines.append(f"{{\\footnotesize {notes}\\par}}")
    return "\n".join(lines) + "\n"


def _write_part(table: ReportTable, part: Part, caption: str, is_counted: bool) -> str:
    widths = dict(zip(part.columns, part.widths, strict=True))
    spec = "@{}" + "".join(_column(table, at, widths[at]) for at in part.columns) + "@{}"
    header = " & ".join(_heading(table.columns[at], widths[at]) for at in part.columns)
    best = table.best()
    rows = []
    for number in part.rows:
        row = table.rows[number]
        cells = [_cell_text(row[at], (number, at) in best) for at in part.columns]
        cells = [rf"\textcolor{{gray}}{{{cell}}}" if number in table.quoted else cell for cell in cells]
        rows.append(" & ".join(cells) + r" \\")
    uncounted = [] if is_counted else [r"\addtocounter{table}{-1}"]
    head = rf"\toprule {header} \\ \midrule"
    return "\n".join(
        [
            *uncounted,
            rf"\begingroup\footnotesize\begin{{longtable}}{{{spec}}}",
            rf"{caption} \\ {head} \endfirsthead",
            rf"{head} \endhead",
            r"\bottomrule \endfoot",
            *rows,
            r"\end{longtable}\endgroup",
        ]
    )


def _column(table: ReportTable, at: int, width: int) -> str:
    cells = [row[at] for row in table.rows if row[at] != ""]
    if cells and all(isinstance(cell, int) for cell in cells):
        return "r"
    if any(isinstance(cell, str) for cell in cells):
        return rf">{{\raggedright\arraybackslash}}p{{{_millimetres(width)}mm}}"
    return "l"


def _millimetres(width: int) -> str:
    return f"{max(width, 6) * PLACE_MM:.0f}"


def _heading(name: str, width: int) -> str:
    return rf"\parbox[b]{{{_millimetres(width)}mm}}{{\raggedright {escape(name)}}}"


def _cell_text(cell: Cell, is_best: bool) -> str:
    if isinstance(cell, Estimate):
        value, space, rest = show_cell(cell).partition(" ")
        bold = rf"\textbf{{{escape(value)}}}" if is_best else escape(value)
        return f"{bold}{space}{_with_marks(rest)}"
    text = escape(show_cell(cell))
    return rf"\textbf{{{text}}}" if is_best else text


def _with_marks(text: str) -> str:
    """Return an interval whose marks behind it are raised, as footnotes are."""
    interval, bracket, rest = text.partition("]")
    marks = rest[: len(rest) - len(rest.lstrip("*^"))]
    raised = f"\\textsuperscript{{{escape(marks)}}}" if marks else ""
    return f"{escape(interval + bracket)}{raised}{escape(rest[len(marks) :])}"


def _write_blocks(document: Document, blocks: Sequence[Block], depth: int, folder: str) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Section):
            yield rf"\{LEVELS[min(depth, len(LEVELS) - 1)]}*{{{escape(block.title)}}}"
            yield from _write_blocks(document, block.blocks, depth + 1, folder)
        elif isinstance(block, ReportTable):
            yield rf"\input{{{folder}/{document.table_name(block)}.tex}}"
        elif isinstance(block, Listing):
            yield _write_items(block.items)
        elif isinstance(block, Figure):
            yield _write_figure(block)
        else:
            yield _write_paragraph(block)


def _write_figure(figure: Figure) -> str:
    """Return a figure, as wide as the line or as the column that it was drawn for.

    Of one without a PDF the name of its file, as LaTeX takes no SVG.
    """
    title = escape(figure.title)
    if not figure.pdf:
        return f"{title} (figure: \\texttt{{{escape(figure.name)}.svg}})"
    box = _BOX.search(figure.pdf)
    width = f"{float(box[1]) / 72:g}in" if box and float(box[1]) / 72 < NARROW_IN else r"\linewidth"
    picture = rf"\includegraphics[width={width},height=0.8\textheight,keepaspectratio]{{{figure.name}.pdf}}"
    return f"\\begin{{figure}}[htbp]\\centering\n{picture}\n\\caption{{{title}}}\n\\end{{figure}}"


def _write_paragraph(paragraph: Paragraph) -> str:
    text = line_text(paragraph.text)
    return {"warning": rf"\textbf{{!}} {text}", "note": rf"{{\footnotesize {text}\par}}"}.get(paragraph.tone, text)


def _write_items(items: Sequence[Item], depth: int = 1) -> str:
    if not items:
        return ""
    if depth > 3:  # LaTeX stops at four
        return "; ".join(line_text(item.text) for item in items)
    lines = [f"\\item {line_text(item.text)}" + (f"\n{_write_items(item.items, depth + 1)}" if item.items else "")
             for item in items]  # fmt: skip
    return "\n".join([r"\begin{itemize}\setlength{\itemsep}{0pt}", *lines, r"\end{itemize}"])


def line_text(line: Line) -> str:
    """Return a line with its spans."""
    return "".join(map(_span_text, spans_of(line)))


def _span_text(span: Span) -> str:
    if isinstance(span, str):
        return escape(span, MAX_LINE)
    if isinstance(span, Strong):
        return rf"\textbf{{{escape(span.text, MAX_LINE)}}}"
    breakable = _BREAK.sub(r"\g<0>\\allowbreak{}", escape(span.text, MAX_LINE))
    return rf"\texttt{{{breakable}}}"


def escape(text: str, max_chars: int = 200) -> str:
    """Return a text that LaTeX prints as it is, in ASCII; what its fonts do not have as [U+540D]."""
    shown = plain(text, max_chars)
    if _PLAIN.fullmatch(shown):
        return shown
    return "".join(_escape_char(char, shown[at - 1 : at]) for at, char in enumerate(shown))


def _escape_char(char: str, before: str) -> str:
    if char in _LIGATURES:
        return _COMMANDS[char] if char == before or before in "?!'`" or char in "'`" else char
    if char in _COMMANDS:
        return _COMMANDS[char]
    if char.isascii():
        return char
    letter, *marks = list(unicodedata.normalize("NFD", char))
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"{_ACCENTS[marks[0]]}{{{letter}}}"
    return f"[U+{ord(char):04X}]".replace("[", "{[}").replace("]", "{]}")
