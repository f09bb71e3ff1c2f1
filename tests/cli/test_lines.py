"""Sentences and tables in lines of a width."""

from __future__ import annotations

import pytest

from cxrssl.cli.lines import Table, lay_out, terminal_width, wrap

ROWS = [["record alone: demo, meta, icu, social", "0.732 [0.685, 0.770]", "9"], ["view alone", "not defined", "128"]]


def test_a_table_keeps_its_numbers_whole_and_wraps_its_names() -> None:
    table = Table(["", "macro AUROC", "subjects with it"], ROWS, {2})
    assert table.lines(60) == [
        "                                                   subjects",
        "                             macro AUROC            with it",
        "  record alone: demo, meta,  0.732 [0.685, 0.770]         9",
        "  icu, social",
        "  view alone                 not defined                128",
    ]
    for width in (60, 80, 120):
        lines = table.lines(width)
        assert max(map(len, lines)) <= width
        assert any("0.732 [0.685, 0.770]" in line for line in lines)
        assert " ".join(" ".join(lines).split()).count("social") == 1
    assert len(table.lines(120)) < len(table.lines(60))


def test_a_table_that_is_too_wide_is_too_wide_rather_than_cut() -> None:
    table = Table(["", "a"], [["name", "0.732 [0.685, 0.770] " * 4]])
    assert not table.fits(60)
    assert table.fits(120)
    assert ("0.732 [0.685, 0.770] " * 4).strip() in table.lines(60)[1]


def test_the_head_stands_over_its_numbers_in_as_many_rows_as_it_takes() -> None:
    table = Table(["", "random vit-micro, seed 0", "films"], [["sex", "0.675", "378"]], {2})
    assert table.lines(80) == [
        "       random",
        "       vit-micro,",
        "       seed 0      films",
        "  sex  0.675         378",
    ]


def test_a_table_without_rows_or_head_has_no_line_of_them() -> None:
    assert Table(["", "a"], []).lines(80) == []
    assert Table((), [["a", "1"]]).lines(80) == ["  a  1"]


def test_sentences_wrap_with_what_follows_set_in_and_no_word_is_broken() -> None:
    assert wrap("one two three four", 10) == ["one two", "  three", "  four"]
    assert wrap("  set in and long", 10) == ["  set in", "    and", "    long"]
    assert wrap("x" * 30, 10) == ["x" * 30]
    assert wrap("20 x 20, 1,000-fold", 12) == ["20 x 20,", "  1,000-fold"]
    assert lay_out(["a", "", "b"], 10) == ["a", "", "b"]


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("30", 60), ("400", 120)])
def test_lines_are_as_wide_as_the_terminal_within_bounds(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width
