"""The filter language: what matches, what is refused and how, what completes a text."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.results.filter import Row, complete_filter, field_values, parse_filter

BASE: Row = {
    "run": "mimic-msn-vit-base-s0-01234567",
    "state": "running",
    "ehr": ("sex", "age", "demo"),
    "auroc": 0.8,
    "train.lr": 2e-4,
    "seed": 0.0,
    "tag": ("paper",),
    "age": 7200.0,
    "progress": 0.5,
}
OTHER: Row = {"run": "nih-mae-vit-tiny-s1-89abcdef", "state": "finished", "ehr": ("none",), "auroc": math.nan}


@pytest.mark.parametrize(
    ("text", "is_base", "is_other"),
    [
        ("", True, True),
        ("BASE", True, False),
        ("vit", True, True),
        ("state:running", True, False),
        ("state:RUN*", True, False),
        ("state:run", True, False),
        ("state=run", False, False),
        ("ehr:demo", True, False),
        ("ehr:de", False, False),
        ("ehr:d*", True, False),
        ("ehr:none", False, True),
        ("auroc>0.75", True, False),
        ("auroc<2", True, False),
        ("auroc!=0.8", False, True),
        ("progress>=50%", True, False),
        ("age>1h age<1d", True, False),
        ("train.lr<=2e-4", True, False),
        ("seed:0", True, False),
        ("tag!=old", True, False),
        ("state:running OR state:finished", True, True),
        ("state:running OR state:finished NOT vit-tiny", True, False),
        ("NOT (state:running OR mae)", False, False),
        ("(mae)AND(nih)", False, True),
        ('"vit-base-s0"', True, False),
        ('state:"running" base', True, False),
        ("state:running ehr:demo auroc>0.75 base", True, False),
    ],
)
def test_a_filter_matches_what_it_says(text: str, is_base: bool, is_other: bool) -> None:
    found = parse_filter(text)
    assert (found.matches(BASE), found.matches(OTHER)) == (is_base, is_other)


def test_nothing_is_larger_or_smaller_than_what_is_not_known() -> None:
    for text in ("auroc>0", "auroc<=0", "seed>0", "seed<=0", "seed!=1"):
        assert not parse_filter(text).matches({"auroc": math.nan})
    assert parse_filter("NOT auroc>0").matches({})
    assert not parse_filter("seed!=1").matches({"seed": None})


def test_yes_and_no_are_words() -> None:
    for text, is_used in (("outcome:yes", True), ("outcome=NO", False), ("outcome>0", None)):
        assert parse_filter(text).matches({"outcome": True}) is (is_used is True)
        assert parse_filter(text).matches({"outcome": False}) is (is_used is False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stat:running", 'runs have no field "stat"'),
        ("auroc>high", '"auroc>high" compares with no number'),
        ("(base", 'a "(" of the filter is not closed'),
        ("base)", 'a ")" closes nothing'),
        ("base OR", "the filter lacks a term at its end"),
        ("NOT", "the filter lacks a term after NOT"),
        ("()", 'the filter lacks a term before ")"'),
        ("OR base", 'the filter lacks a term before "OR"'),
    ],
)
def test_what_is_no_filter_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text, set(BASE))
    assert caught.value.what == sentence
    assert caught.value.hint


def test_the_nearest_field_is_named_and_case_does_not_matter() -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter("stat:running", set(BASE))
    assert caught.value.hint == 'nearest is "state"'
    assert parse_filter("AUROC>0.5", set(BASE)).fields == {"auroc"}


def test_the_last_word_is_completed_to_fields_and_to_values_that_occur() -> None:
    rows = field_values([BASE, OTHER])
    assert complete_filter("base st", rows) == ["base state:"]
    assert complete_filter("base au", rows) == ["base auroc>"]
    assert complete_filter("state:", rows) == ["state:finished", "state:running"]
    assert complete_filter("(ehr:d", rows) == ["(ehr:demo"]
    assert complete_filter("zz", rows) == []


@pytest.mark.fuzz
def test_any_text_is_a_filter_or_a_sentence() -> None:
    rng = random.Random(20261201)
    alphabet = [
        '"',
        "(",
        ")",
        " ",
        ":",
        ">",
        "<",
        "=",
        "!",
        "OR",
        "NOT",
        "AND",
        "state",
        "auroc",
        "0.5",
        "*",
        "é",
        "\x1b",
    ]
    for _ in range(3000):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))
        try:
            matches = parse_filter(text, set(BASE)).matches
        except UsageError as error:
            assert "\x1b" not in error.what + error.hint
            continue
        assert {matches(BASE), matches(OTHER)} <= {True, False}
        complete_filter(text, field_values([BASE, OTHER]))


def test_the_language_needs_no_database_and_no_screen() -> None:
    code = (
        "import sys; import cxrssl.results.filter, cxrssl.results.listing; "
        "print([name for name in ('duckdb', 'polars', 'typer', 'textual', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
