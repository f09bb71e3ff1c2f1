"""Tables as text, CSV, Markdown and LaTeX; names shortened; trends."""

from __future__ import annotations

import math

from cxrssl.core.columns import cell_width
from cxrssl.dashboard.text.files import to_csv, to_latex, to_markdown
from cxrssl.dashboard.text.sheet import Column, Sheet, make_rows, to_text
from cxrssl.dashboard.text.sparks import spark

COLUMNS = (Column("arm", is_left=True), Column("AUROC", rank=1), Column("films", rank=2))
SHEET = Sheet("T", COLUMNS, make_rows({"a": ["right", "0.71", "1,234"], "b": ["=SUM(A1)_%", "–", "9"]}), ("note *",))


def test_the_same_cells_in_every_format() -> None:
    assert to_text(SHEET) == [
        "T",
        "arm         AUROC  films",
        "right        0.71  1,234",
        "=SUM(A1)_%      –      9",
        "note *",
    ]
    assert to_csv(SHEET).splitlines() == ["arm,AUROC,films", "right,0.71,1234", "'=SUM(A1)_%,,9"]
    lines = to_markdown(SHEET).splitlines()
    assert lines[:2] == ["| arm | AUROC | films |", "| :-- | --: | --: |"]
    assert lines[-1] == r"- note \*"
    assert r"=SUM(A1)\_\% & -- & 9 \\" in to_latex(SHEET).splitlines()


def test_in_a_csv_an_interval_is_columns_of_its_own_and_pictures_and_marks_are_left_out() -> None:
    columns = (Column("arm▼", is_left=True), Column("d"), Column("mean"), Column("plot", is_drawn=True))
    texts = {
        "a": ["▸ a", "+0.031 [-0.002, +0.064]°", "2.700 [2.600, 2.800] 3", "├─●─┤"],
        "b": ["  b", "–", "2.500 1", "  ●  "],
        "c": ["  c", "-0.010 no interval", "–", ""],
    }
    sheet = Sheet("", columns, make_rows(texts), ("n of °",))
    assert to_csv(sheet).splitlines() == [
        "arm,d,d low,d high,d mark,mean,mean low,mean high,mean n",
        "a,+0.031,-0.002,+0.064,°,2.700,2.600,2.800,3",
        "b,,,,,2.500,,,1",
        "c,-0.010,,,,,,,",
    ]
    assert r"a & +0.031 [-0.002, +0.064]$^\circ$ & 2.700 [2.600, 2.800] 3 \\" in to_latex(sheet).splitlines()
    assert to_markdown(sheet).splitlines()[0] == "| arm | d | mean |"


def test_a_narrow_table_drops_the_least_important_columns_and_says_so() -> None:
    lines = to_text(SHEET, 20)
    assert lines[1].split() == ["arm", "AUROC"]
    assert lines[-1] == "no room for: films"
    assert all(len(line) <= 20 for line in to_text(SHEET, 20))


def test_a_trend_has_the_height_of_its_values_and_a_dot_where_there_is_none() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark([1, math.nan, 1], 3) == "▅·▅"
    assert spark([], 4) == ""
    assert spark([math.nan] * 3) == "···"
    assert spark([1e300, -1e300], 2) == "█▁"
    assert cell_width(spark(list(range(100)), 12)) == 12
