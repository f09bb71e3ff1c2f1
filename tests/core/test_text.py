"""Text from data made safe for a terminal, a spreadsheet and JSON."""

from __future__ import annotations

import json

import pytest

from cxrssl.core.text import csv_text, dump_json, escape_formula, from_csv_text, plain, plain_lines
from tests.hostile import hostile_texts, runs_in_a_spreadsheet, unsafe_chars

TEXTS = hostile_texts(2000, seed=1)


def test_plain_text_is_one_line_that_drives_no_terminal() -> None:
    for text in TEXTS:
        shown = plain(text)
        assert not unsafe_chars(shown, ""), repr(text)
        assert len(shown) <= 500
        assert plain(shown) == shown
        assert not unsafe_chars(plain_lines(text), "\n\t"), repr(text)


def test_plain_text_holds_no_code_that_is_no_character() -> None:
    assert plain("a\ufffe\uffff\U0001ffff\ufdd0b") == "a\ufffd\ufffd\ufffd\ufffdb"
    assert plain("Ödem 名 🫁 é") == "Ödem 名 🫁 é"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("+cmd", "'+cmd"), ("-2+3", "'-2+3"), ("@SUM(1)", "'@SUM(1)"), ("  =1", "'  =1"),
        ("＝1", "'＝1"), ("'x", "''x"), ("\t=1", "\ufffd=1"), ("-", "'-"), ("- none", "'- none"),
        ("-1", "-1"), ("+0.5", "+0.5"), ("-.5e-3", "-.5e-3"), ("1,5", "1,5"), ("a=b", "a=b"), ("", ""),
    ],
)  # fmt: skip
def test_a_formula_is_text_in_a_spreadsheet_and_a_number_a_number(text: str, cell: str) -> None:
    assert csv_text(text) == cell


def test_no_text_runs_in_a_spreadsheet_and_each_can_be_had_back() -> None:
    assert sum(map(runs_in_a_spreadsheet, TEXTS)) > 100
    for text in TEXTS:
        assert not runs_in_a_spreadsheet(csv_text(text)), repr(text)
        assert from_csv_text(escape_formula(text)) == text
        assert from_csv_text(csv_text(text)) == plain(text, 10_000)


def test_json_is_printable_ascii_with_every_text_as_it_is() -> None:
    for text in TEXTS:
        written = dump_json({text: [text]})
        assert written.isascii()
        assert written.isprintable()
        assert json.loads(written) == {text: [text]}
