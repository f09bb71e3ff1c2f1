"""Every format of a report: texts from data stay texts, lines fit, what is shown is what the CSV says."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cxrssl.core.columns import cell_width
from cxrssl.core.workspace import Workspace
from cxrssl.report.cells import Cell, Estimate, Number, show_cell
from cxrssl.report.document import Block, Code, Document, Fact, Figure, Item, Listing, Paragraph, Section, Strong
from cxrssl.report.fold import fold_table
from cxrssl.report.formats import tex
from cxrssl.report.formats.contents import list_contents
from cxrssl.report.formats.csv import write_csv
from cxrssl.report.formats.html import write_html
from cxrssl.report.formats.markdown import write_markdown
from cxrssl.report.formats.terminal import write_terminal
from cxrssl.report.tables import ReportTable
from cxrssl.report.write import list_files, write_report
from cxrssl.stats.resample import Interval
from tests.golden.report import SVG, make_document
from tests.hostile import hostile_texts, runs_in_a_spreadsheet, tags_of, unsafe_chars
from tests.report.test_report import make_evaluation
from tests.scale import scaled

TEXTS = hostile_texts(scaled(400, 2000), seed=3)
ESTIMATE = Estimate(Interval(0.734, 0.7015, 0.765, 1000))
HTML_TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "h4", "p", "dl", "div", "dt",
    "dd", "details", "summary", "nav", "ul", "li", "main", "section", "table", "caption", "thead", "tr", "th", "tbody",
    "td", "strong",
    "span", "i", "code", "figure", "img", "figcaption",
}  # fmt: skip
HTML_ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "href", "id", "aria-label", "aria-labelledby", "tabindex", "role",
    "scope", "src", "alt", "width",
}  # fmt: skip
MARKDOWN_TAGS = {
    "h1", "h2", "h3", "p", "ul", "li", "strong", "code", "blockquote", "table", "thead", "tbody", "tr", "th", "td",
    "img",
}  # fmt: skip
TEX_COMMANDS = {
    "documentclass", "renewcommand", "topfraction", "bottomfraction", "textfraction", "floatpagefraction",
    "usepackage", "IfFileExists", "setlength", "parindent", "parskip", "tabcolsep",
    "LTcapwidth", "linewidth", "sloppy", "begin",
    "end", "section", "subsection", "subsubsection", "textbf", "texttt", "textcolor", "item", "itemsep", "input",
    "caption", "label", "toprule", "midrule", "bottomrule", "endfirsthead", "endhead", "endfoot", "par", "parbox",
    "raggedright", "arraybackslash", "begingroup", "endgroup", "footnotesize", "addtocounter", "textsuperscript",
    "allowbreak", "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar",
    "textquotedbl", "dots",
    "pm", "times", "leq", "textperiodcentered", "ss", "c",
}  # fmt: skip


def make_hostile(texts: Sequence[str]) -> Document:
    """Return a document that has texts in every place."""
    first, second, last = texts[0], texts[1], texts[-1]
    rows: list[list[Cell]] = [[text, text, ESTIMATE] for text in texts]
    table = ReportTable(first, [last, first, "AUROC"], rows, [second, [Code(first), last]], short=last, compared=[2])
    items = [Item([Strong(text), Code(text)], [Item(text)]) for text in texts]
    blocks: list[Block] = [table, Paragraph(first, "warning"), Listing(items), Figure("f", first, second, SVG)]
    return Document(
        first, [second, Code(last)], [Fact(first, last)], [Section(second, blocks, is_detail=True)], [first]
    )


DOCUMENTS = [make_hostile(TEXTS[start : start + 40]) for start in range(0, len(TEXTS), 40)]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.depth: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.depth += [] if tag in ("meta", "img") else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag


def read_page(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    assert not page.depth
    return page


@pytest.mark.fuzz
def test_no_text_becomes_markup_or_an_address_in_html() -> None:
    for document in DOCUMENTS:
        html = write_html(document)
        assert not unsafe_chars(html)
        page = read_page(html)
        assert {tag for tag, _ in page.tags} <= HTML_TAGS
        for _, attributes in page.tags:
            assert set(attributes) <= HTML_ATTRIBUTES
            assert (attributes.get("href") or "#").startswith("#")
            assert (attributes.get("src") or "data:").startswith("data:image/svg+xml;base64,"[:5])


@pytest.mark.fuzz
def test_no_text_becomes_markup_in_markdown() -> None:
    for document in DOCUMENTS:
        markdown = write_markdown(document)
        assert not unsafe_chars(markdown)
        tags = tags_of(markdown)
        assert {tag for tag, _ in tags} <= MARKDOWN_TAGS
        assert [attributes["src"] for tag, attributes in tags if tag == "img"] == ["f.svg"]


@pytest.mark.fuzz
@pytest.mark.parametrize("width", [80, 120])
def test_no_text_drives_a_terminal_or_leaves_its_line(width: int) -> None:
    for document in DOCUMENTS:
        shown = write_terminal(document, width)
        assert not unsafe_chars(shown)
        assert max(map(cell_width, shown.splitlines())) <= width


@pytest.mark.fuzz
def test_no_text_runs_a_command_in_latex() -> None:
    for document in DOCUMENTS:
        texts = [tex.write_tex(document), *(tex.write_table(table, "t") for table in document.tables)]
        for text in texts:
            assert text.isascii()
            body = re.sub(r"^% needs .*\n", "", text)
            body = re.sub(r"\\[\\{}$&#%_`'^~\"]", "", body)
            assert set(re.findall(r"\\([A-Za-z]+)", body)) <= TEX_COMMANDS
            assert set(re.findall(r"\\[^A-Za-z]", body)) == set()
            assert not {"%", "#", "_", "~"} & set(re.sub(r"\\(?:input|label)\{[^}]*\}|\\begin\{.*", "", body))
            assert body.count("{") == body.count("}")
            assert body.replace(r"$-$", "").replace(r"$\pm$", "").replace(r"$\times$", "").replace(
                r"$\leq$", "").count("$") == 0  # fmt: skip


@pytest.mark.fuzz
def test_no_text_becomes_a_formula() -> None:
    for document in DOCUMENTS:
        for row in csv.reader(io.StringIO(write_csv(document.tables[0]), newline="")):
            assert not [cell for cell in row if runs_in_a_spreadsheet(cell) or unsafe_chars(cell, "")]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("document", [make_document(), DOCUMENTS[0]], ids=["golden", "hostile"])
def test_latex_compiles(document: Document, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for file, content in list_files(document, {}).items():
        (tmp_path / file).write_bytes(content)
    words = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 1000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("formats") / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-record", features=("sex",), skill=3.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    return workspace


def test_the_same_store_gives_the_same_bytes(workspace: Workspace) -> None:
    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    first = read(write_report(workspace).folder)
    assert read(write_report(workspace).folder) == first
    assert read(write_report(workspace, "elsewhere").folder) == first
    assert {"report.html", "report.md", "report.tex"} <= set(first)


def test_the_csv_of_a_table_read_back_gives_what_the_page_shows(workspace: Workspace) -> None:
    report = write_report(workspace)
    html = (report.folder / "report.html").read_text(encoding="utf-8")
    seen = 0
    for table in report.document.tables:
        path = report.folder / "tables" / f"{report.document.table_name(table)}.csv"
        with open(path, encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        for line, cells in zip(lines, table.rows, strict=True):
            for name, cell in zip(table.columns, cells, strict=True):
                if isinstance(cell, Estimate) and cell.interval.has_interval:
                    sign = "+" if cell.is_difference else ""
                    value, lo, hi = (f"{float(line[name + part]):{sign}.3f}" for part in ("", " lo", " hi"))
                    assert show_cell(cell).startswith(f"{value} [{lo}, {hi}]")
                    assert re.search(
                        rf"{re.escape(value)}(</strong>)? <span>\[{re.escape(lo)}, {re.escape(hi)}\]", html
                    )
                    seen += 1
                elif isinstance(cell, Number) and cell.value == cell.value:
                    assert cell.pattern.format(float(line[name])) in html
    assert seen > 10


def test_a_page_needs_nothing_outside_itself_and_its_headings_are_in_order() -> None:
    html = write_html(make_document())
    assert "@import" not in html
    assert "url(" not in html
    assert "<script" not in html
    page = read_page(html)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [str(attributes["href"]).removeprefix("#") for tag, attributes in page.tags if tag == "a"]
    assert set(links) <= set(ids)
    assert html.count("<table>") == html.count("<caption>")
    assert page.tags[0] == ("html", {"lang": "en"})
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == ["One row: +0.010 [-0.020, +0.040]."]


def test_the_best_as_shown_stands_out_and_what_others_published_never_does() -> None:
    rows: list[list[Cell]] = [["a", Number(0.71249)], ["b", Number(0.71151)], ["c", Number(0.7)], ["peer", Number(0.9)]]
    table = ReportTable("T", ["what", "AUROC"], rows, compared=[1], quoted=[3])
    assert table.best() == {(0, 1), (1, 1)}
    assert "| **0.712** |" in write_markdown(Document("D", "", (), [table]))
    assert ReportTable("T", ["what", "AUROC"], rows[:1], compared=[1]).best() == set()


def test_a_wide_table_is_shown_in_parts_of_about_equal_width_without_rows_that_say_nothing() -> None:
    rows: list[list[Cell]] = [["first", *[ESTIMATE] * 4], ["second", ESTIMATE, ESTIMATE, "", ""]]
    table = ReportTable("T", ["Name", "a", "b", "c", "d"], rows)
    parts = fold_table(table, 80, 2)
    assert [part.columns for part in parts] == [(0, 1, 2), (0, 3, 4)]
    assert [part.rows for part in parts] == [(0, 1), (0,)]
    assert [part.columns for part in fold_table(table, 120, 2)] == [(0, 1, 2, 3, 4)]
    assert "d\n" in write_csv(table)[:80] or "d,d lo" in write_csv(table)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (b'width="504pt" height="90pt"', "1008"),
        (b'height="90pt" viewBox="0 0 9 9" width="252pt"', "504"),
        (b'width="880" height="90"', "1008"),
        (b'width="440" height="90"', "504"),
    ],
)
def test_letters_of_six_points_are_12_pixels_high_on_the_page(size: bytes, shown: str) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" ' + size + b' stroke-width="2"></svg>'
    page = read_page(write_html(Document("D", "", (), [Figure("f", "F", "alt", svg)])))
    assert [attributes.get("width") for tag, attributes in page.tags if tag == "img"] == [shown]


def _figure(name: str, title: str) -> Figure:
    return Figure(name, title, "alt", SVG)


def test_no_two_entries_of_contents_are_called_alike() -> None:
    def gaps(arm: str) -> str:
        return f"Gaps in AUROC between groups of people: {arm}: MSN + {arm} (vit-micro), seed 0 on cohort demo."

    def table(cohort: str) -> ReportTable:
        return ReportTable(f"Means over seeds on cohort {cohort} (f0), split official", ["a"], [["b"]], short="Means")

    same = [ReportTable("T", ["a"], [["b"]]), ReportTable("T", ["a"], [["b"]])]
    groups = [_figure("g1", gaps("arm-01")), _figure("g2", gaps("vanilla"))]
    first = Section("Cohort one", [table("one"), Section("By finding", groups), *same])
    second = Section("Cohort two", [table("two"), Section("By finding", [_figure("r", "ROC curves on cohort two.")])])
    runs = Section("Runs", [ReportTable("Runs", ["a"], [["b"]])])
    contents = list_contents(Document("D", "", (), [first, second, runs]))
    names = re.findall(r'<a href="#[^"]+">([^<]+)</a>', contents.to_html())
    assert names == [
        "Cohort one", "Means: one", "By finding: one", "Gaps in AUROC between groups: arm-01",
        "Gaps in AUROC between groups: vanilla", "T (1 of 2)", "T (2 of 2)",
        "Cohort two", "Means: two", "By finding: two", "ROC curves", "Runs",
    ]  # fmt: skip


def test_what_tells_names_apart_is_read_without_marks() -> None:
    terms = "Cohort nih (9e), split official; films where view = 'PA'", "Cohort nih (9e), split official"
    sections = [
        Section(each, [ReportTable(f"On {each}", ["a"], [["b"]], short="Runs"), Paragraph("")]) for each in terms
    ]
    contents = list_contents(Document("D", "", (), sections))
    assert [contents.names[name] for name in ("table-1", "table-2")] == ["Runs: films where view = 'PA'", "Runs"]


def test_a_print_that_leaves_folded_parts_out_says_so_where_the_browser_cannot_open_them() -> None:
    css = write_html(make_document()).partition("@media print {")[2].partition("</style>")[0]
    note, condition = css.index('::after { content: " (folded, not printed'), css.index("@supports selector(")
    assert note < condition, "said by every browser but those that open what is folded"
    assert "{ details:not([open]) > summary::after { content: none; } }" in css[condition:]


def test_details_and_long_tables_are_folded_and_links_lead_inside() -> None:
    long = ReportTable("Long", ["a"], [[str(at)] for at in range(21)])
    short = ReportTable("Short", ["a"], [["b"]])
    runs = ReportTable("Single runs", ["a"], [["b"]], is_detail=True)
    blocks = [Section("Open", [short, long, runs]), Section("Shut", [short, _figure("f", "F")], is_detail=True)]
    page = write_html(Document("D", "", (), [*blocks, Section("Runs", [long], is_detail=True)]))
    folded = re.findall(r"<details>\n<summary><h(\d)[^>]*>([^<]+)</h\d> <span class=\"hint\">([^<]+)</span>", page)
    assert [(name, hint) for _, name, hint in folded] == [
        ("Long", "21 rows"), ("Single runs", "1 row"), ("Shut", "1 table, 1 figure"), ("Runs", "21 rows"),
    ]  # fmt: skip
    for anchor in re.findall(r'href="#(section-2|section-3|table-2)"', page):
        assert f'</summary>\n<div id="{anchor}"' in page  # what is linked is inside: a browser opens what holds it
