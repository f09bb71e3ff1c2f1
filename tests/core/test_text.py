"""Text from data made safe for a terminal, a spreadsheet and JSON."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess

import pytest

from cxrssl.core.text import (
    csv_text,
    dump_json,
    escape_formula,
    few_nearest,
    from_csv_text,
    nearest_hint,
    plain,
    plain_lines,
    shell_word,
    valid,
)
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


def test_a_hint_names_the_nearest_of_many_names_and_not_all_of_them() -> None:
    runs = [f"mimic-msn-s{seed}" for seed in range(40)]
    assert few_nearest("mimic-msn-s7", runs) == "mimic-msn-s7, mimic-msn-s37, mimic-msn-s27 and 37 more"
    assert few_nearest("mimic", ["b", "mimic-b", "mimic-a"]) == "mimic-a, mimic-b, b"
    assert nearest_hint("zzz", runs, 6).startswith("known: mimic-msn-s")
    assert nearest_hint("zzz", runs, 6).endswith(" and 37 more")
    assert nearest_hint("zzz", ["a", "b"], 6) == "known: a, b"
    assert nearest_hint("mimic-msn-s8x", runs, 6) == 'nearest is "mimic-msn-s8"'


def test_a_word_of_a_command_is_whole_and_read_back_by_a_shell() -> None:
    for text in ("runs", "a b", "it's", "x;y", "", "~/a", "Ödem 名", "p/" * 2000):
        assert shlex.split(shell_word(text)) == [text]
    assert shell_word("runs/a.b-c") == "runs/a.b-c"
    assert shell_word("\ud800") == r"$'\xed\xa0\x80'"
    assert shell_word("a\x07'\\b") == r"$'a\x07\'\\b'"


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_a_word_with_unsafe_characters_shows_none_and_is_the_same_in_bash() -> None:
    texts = [text for text in TEXTS if "\0" not in text and text == valid(text)][:300] + [
        os.fsdecode(b"film\xff9.png"),
        "a\nb",
    ]
    words = [shell_word(text) for text in texts]
    assert not any(unsafe_chars(word, "") for word in words)
    script = f"printf '%s\\0' {' '.join(words)}"
    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C"}).stdout
    assert said.split(b"\0")[:-1] == [os.fsencode(text) for text in texts]


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
