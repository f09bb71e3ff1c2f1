"""Tables as text, CSV, Markdown and LaTeX; names shortened; trends."""

from __future__ import annotations

import math

from cxrssl.core.columns import cell_width
from cxrssl.dashboard.text.names import shorten_names
from cxrssl.dashboard.text.sheet import Column, Sheet, make_rows, to_csv, to_latex, to_markdown, to_text
from cxrssl.dashboard.text.sparks import spark
from tests.hostile import hostile_texts

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
    assert to_csv(SHEET).splitlines() == ["arm,AUROC,films", 'right,0.71,"1,234"', "'=SUM(A1)_%,–,9"]
    lines = to_markdown(SHEET).splitlines()
    assert lines[:2] == ["| arm | AUROC | films |", "| :-- | --: | --: |"]
    assert lines[-1] == r"- note \*"
    assert r"=SUM(A1)\_\% & -- & 9 \\" in to_latex(SHEET).splitlines()


def test_a_narrow_table_drops_the_least_important_columns_and_says_so() -> None:
    lines = to_text(SHEET, 20)
    assert lines[1].split() == ["arm", "AUROC"]
    assert lines[-1] == "no room for: films"
    assert all(len(line) <= 20 for line in to_text(SHEET, 20))


def test_names_are_shortened_where_they_agree_and_not_where_they_differ() -> None:
    names = [
        f"demo-{world}-controls.{arm}-vit-s{seed}"
        for world in ("look", "none")
        for arm in ("both", "paper")
        for seed in (0, 1)
    ]
    assert shorten_names(names, 40) == names
    shown = shorten_names(names, 20)
    assert (shown[0], shown[2]) == ("…look…both-vit-s0", "…look…paper-vit-s0")
    assert shorten_names(names, 26)[0] == "demo-look…both-vit-s0"
    assert len(set(shown)) == len(names)
    assert shorten_names(["a" * 40 + "x" + "b" * 40, "a" * 40 + "y" + "b" * 40], 12) == ["…aaxbbbbbbb…", "…aaybbbbbbb…"]
    assert shorten_names(["only-one-run-of-a-long-name"], 12)[0].endswith("name")
    assert shorten_names([], 5) == []


def test_hostile_names_stay_different_and_short() -> None:
    names = sorted({text.replace("\n", "") for text in hostile_texts(200, 0)})
    shown = shorten_names(names, 24)
    assert not set("".join(shown)) & set("\x1b\x07\x9b\u202e\u200b")
    assert max(map(len, shown)) <= 24


def test_a_trend_has_the_height_of_its_values_and_a_dot_where_there_is_none() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark([1, math.nan, 1], 3) == "▅·▅"
    assert spark([], 4) == ""
    assert spark([math.nan] * 3) == "···"
    assert spark([1e300, -1e300], 2) == "█▁"
    assert cell_width(spark(list(range(100)), 12)) == 12
