"""Names fit their place, and those that differ stay different."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrssl.report.figures.names import shorten_names


def within(num: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= num


def test_names_that_fit_stay() -> None:
    assert shorten_names(["MSN", "MSN + demo"], within(20)) == ["MSN", "MSN + demo"]


def test_what_all_brackets_share_goes() -> None:
    names = ["MSN (vit-micro, 24 epochs, seed 0, 3cc9)", "MSN + sex (vit-micro, 24 epochs, seed 0, 018a)", "pixels"]
    assert shorten_names(names, within(60)) == ["MSN (3cc9)", "MSN + sex (018a)", "pixels"]


def test_one_name_keeps_its_brackets() -> None:
    assert shorten_names(["MSN (vit-micro, 24 epochs)"] * 2, within(60)) == ["MSN (vit-micro, 24 epochs)"] * 2


def test_words_that_long_names_share_go() -> None:
    names = [
        "a very long beginning of run one that ends alike",
        "a very long beginning of run two that ends alike",
        "b",
    ]
    assert shorten_names(names, within(20)) == ["… one …", "… two …", "b"]


def test_a_long_name_loses_its_middle() -> None:
    assert shorten_names(["abcdefghijklmnop"], within(7)) == ["abc…nop"]


def test_names_that_become_equal_are_numbered() -> None:
    names = [f"aaaaaaa{each}bbbbbbb" for each in ("xxx", "yyy", "xxx")]
    assert shorten_names(names, within(8)) == ["aa…bb #1", "aa…bb #2", "aa…bb #1"]


@given(st.lists(st.text("ab ,()é$", max_size=40), max_size=6))
def test_different_names_stay_different_and_fit(names: list[str]) -> None:
    shown = shorten_names(names, within(12))
    assert len(shown) == len(names)
    assert all(len(text) <= 12 for text in shown)
    different = {(a, b) for a in names for b in names if a.split() != b.split()}
    assert all(dict(zip(names, shown, strict=True))[a] != dict(zip(names, shown, strict=True))[b] for a, b in different)


@pytest.mark.parametrize("names", [[], [""], ["", ""]])
def test_without_a_name_nothing_is_shown(names: list[str]) -> None:
    assert shorten_names(names, within(5)) == names
