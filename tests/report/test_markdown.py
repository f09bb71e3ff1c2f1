"""Texts from data in Markdown: none becomes a link, an image, markup or a line of its own."""

from __future__ import annotations

import pytest

from cxrssl.report.cells import Cell, Estimate
from cxrssl.report.formats.markdown import code, escape, image, write_table
from cxrssl.report.tables import ReportTable
from cxrssl.stats.resample import Interval
from tests.hostile import hostile_texts, tags_of, unsafe_chars
from tests.scale import scaled

TEXTS = hostile_texts(scaled(400, 2000), seed=2)
OURS = {"h2", "p", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.fuzz
def test_no_text_becomes_more_than_text() -> None:
    for text in TEXTS:
        assert tags_of(escape(text)) in ([("p", {})], []), repr(text)
        assert [tag for tag, _ in tags_of(f"- {escape(text)}\n- end")] == ["ul", "li", "li"], repr(text)
        assert not unsafe_chars(escape(text), ""), repr(text)


@pytest.mark.fuzz
def test_no_name_leaves_its_code() -> None:
    for text in TEXTS:
        assert [tag for tag, _ in tags_of(f"a {code(text)}: b\n")] == ["p", "code"], repr(text)


@pytest.mark.fuzz
def test_an_image_leads_to_its_file_and_nowhere_else() -> None:
    for text in TEXTS:
        made = image(text, f"flow-{text}.svg".replace("\udcff", "?"))
        (paragraph, (tag, attributes)) = tags_of(made)
        assert (paragraph[0], tag) == ("p", "img"), repr(text)
        assert str(attributes["src"]).startswith("flow-")
        assert set(attributes) == {"src", "alt"}


@pytest.mark.fuzz
def test_a_table_of_texts_has_as_many_cells_as_it_was_given() -> None:
    for start in range(0, len(TEXTS), 40):
        texts = TEXTS[start : start + 40]
        table = ReportTable(texts[0], [texts[-1], "AUROC"], [[text, text] for text in texts], [texts[1]])
        tags = [tag for tag, _ in tags_of(write_table(table))]
        assert set(tags) <= OURS
        assert tags.count("td") == 2 * len(texts), texts
        assert (tags.count("table"), tags.count("th")) == (1, 2)


def test_numbers_and_names_of_findings_read_as_before() -> None:
    estimate = Estimate(Interval(0.734, 0.7015, 0.765, 1000))
    rows: list[list[Cell]] = [
        ["Pleural_Effusion", estimate],
        ["Enlarged Cardiomediastinum", "-0"],
        ["Edema / left (mild)", 1200],
    ]
    shown = write_table(ReportTable("Probe", ["Finding", "AUROC - untrained"], rows, ["A note; 95 %."]))
    for text in ("| Pleural_Effusion ", "| 0.734 [0.702, 0.765] |", "| -0 ", "| Edema / left (mild) ", "A note; 95 %."):
        assert text in shown
    assert escape("[x](javascript:alert(1)) <b>") == "\\[x\\](javascript\\:alert(1)) &lt;b>"
