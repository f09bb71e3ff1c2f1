"""The dashboard shows what a person last read in its golden files: `just dashboard-texts` writes them anew."""

from __future__ import annotations

import pytest

from tests.golden.dashboard import FOLDER, all_texts, path_of, read_once

TEXTS = all_texts()


@pytest.mark.parametrize("name", TEXTS)
def test_the_dashboard_is_its_golden_file(name: str) -> None:
    assert TEXTS[name]() == path_of(name).read_text(), "if this was meant: just dashboard-texts"


def test_once_is_the_same_in_every_width() -> None:
    """A pipe has no width, and a table cut to one would lose ids."""
    assert read_once(120) == read_once(80)


def test_there_is_no_golden_file_of_a_screen_that_is_gone() -> None:
    assert sorted(FOLDER.iterdir()) == sorted(map(path_of, TEXTS))
