"""Pages are equal bytes for equal input, hold text as text, and leave no setting behind."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from fontTools import subset

from cxrssl.report.figures import page
from cxrssl.report.figures.formats import FORMATS
from cxrssl.report.figures.ink import PAPER, SERIES
from cxrssl.report.figures.page import Page, measure, render, wrap
from tests.hostile import hostile_texts, unsafe_chars
from tests.report.figures.svg import parse, texts_of


def draw() -> Page:
    made = Page(3.0, 2.0)
    made.write(0.1, 0.2, "Sensitivity $x_1^2$", is_bold=True)
    made.write_upwards(0.1, 1.0, "upwards")
    made.shade(0, 1.5, 3, 0.2, "#eef2f6")
    made.draw_line(0.1, 1.0, 1.9, colour=SERIES[1].colour, width_pt=1, dashes=SERIES[1].dashes)
    made.draw_mark(0.5, 1.9, SERIES[1])
    axes = made.add_axes(0.5, 0.4, 2.0, 1.0)
    axes.plot([0, 1], [0, 1])
    axes.fill_between([0, 1], [0, 0], [1, 1], alpha=0.2)
    return made


def digest() -> str:
    """Return the hashes of a page in every format."""
    return " ".join(hashlib.sha256(content).hexdigest() for content in render(draw, "a page").values())


def run_digest(**environment: str) -> str:
    words = [sys.executable, "-c", "from tests.report.figures.test_page import digest; print(digest())"]
    result = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_bytes_are_equal_in_two_processes_whatever_their_settings(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\nlines.linewidth: 9\n")
    alone = run_digest(PYTHONHASHSEED="1", LC_ALL="C")
    other = run_digest(PYTHONHASHSEED="2", MATPLOTLIBRC=str(tmp_path / "matplotlibrc"), SOURCE_DATE_EPOCH="86400")
    assert alone == other == digest()


def test_each_format_is_what_it_says() -> None:
    files = render(draw, "a page")
    assert tuple(files) == FORMATS
    assert files["svg"].startswith(b"<svg ")
    assert files["pdf"].startswith(b"%PDF-")
    assert files["png"].startswith(b"\x89PNG\r\n")
    assert b"/Subtype /Type3" not in files["pdf"]
    assert not re.search(rb"[Mm]atplotlib v|/CreationDate", files["pdf"] + files["svg"])


def test_no_setting_outlives_a_page() -> None:
    with matplotlib.rc_context({"font.size": 33.0}):
        before = dict(matplotlib.rcParams)
        render(draw, "a page", ("svg",))
        assert dict(matplotlib.rcParams) == before
    tables = list(subset.Options().drop_tables)
    render(draw, "a page", ("pdf",))
    assert subset.Options().drop_tables == tables


def test_fonts_in_pdf_hold_glyphs_and_nothing_that_places_them(monkeypatch: pytest.MonkeyPatch) -> None:
    small = render(draw, "a page", ("pdf",))["pdf"]
    monkeypatch.setattr(page, "UNREAD", ())
    whole = render(draw, "a page", ("pdf",))["pdf"]
    assert len(small) < len(whole)
    monkeypatch.setattr(page, "DROPPED", "a name of another version")
    assert render(draw, "a page", ("pdf",))["pdf"] == whole


def test_every_id_begins_with_the_name_of_the_figure_and_is_one() -> None:
    root = parse(render(draw, "a page", ("svg",))["svg"])
    ids = [each.attrib["id"] for each in root.iter() if "id" in each.attrib]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(each.startswith("a_page-") for each in ids)
    used = [value for each in root.iter() for key, value in each.attrib.items() if "href" in key or "clip-path" in key]
    assert {re.sub(r"url\(#|[#)]", "", each) for each in used} <= set(ids)


def test_the_page_follows_the_light_or_dark_setting_of_its_reader() -> None:
    svg = render(draw, "a page", ("svg",))["svg"].decode()
    assert "@media (prefers-color-scheme: dark)" in svg
    assert f'[style*="fill: {PAPER}"]' in svg
    assert f"fill: {PAPER}" in svg.split("</style>", 1)[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_hostile_texts_are_drawn_as_plain_text(seed: int, recwarn: pytest.WarningsRecorder) -> None:
    wanted = hostile_texts(300, seed)

    def draw_all() -> Page:
        page = Page(7.0, 60.0)
        for k, text in enumerate(wanted):
            page.write(0.1, 0.2 + 0.19 * k, text)
        return page

    svg = render(draw_all, "hostile", ("svg",))["svg"]
    shown = texts_of(svg)
    assert unsafe_chars(svg.decode()) == set()
    assert {each.tag.rpartition("}")[2] for each in parse(svg).iter()} <= {"svg", "style", "defs", "g", "path", "text"}
    assert {"$x$", "\\", "`", "__b__", "%s", "<script>alert(1)</script>", 'id="', "&amp;"} & set(wanted) <= set(shown)
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


def test_text_that_looks_like_an_id_stays() -> None:
    def draw_one() -> Page:
        page = Page(3.0, 1.0)
        page.write(0.1, 0.5, ' id="x" href="#y" 0.123456 url(#z)')
        return page

    assert texts_of(render(draw_one, "n", ("svg",))["svg"]) == [' id="x" href="#y" 0.123456 url(#z)']


def test_minus_signs_of_numbers_are_as_long_as_a_plus() -> None:
    def draw_one() -> Page:
        page = Page(3.0, 1.0)
        page.write(0.1, 0.5, "a-b -0.1 [-0.2, +0.1] 3-4")
        return page

    assert texts_of(render(draw_one, "n", ("svg",))["svg"]) == ["a-b −0.1 [−0.2, +0.1] 3-4"]


def test_wrapped_lines_fit_and_keep_every_word() -> None:
    text = "a sentence of some words, of which one is " + "very" * 30 + "long"
    lines = wrap(text, 1.0)
    assert max(map(measure, lines)) <= 1.0
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap("", 1.0) == []
