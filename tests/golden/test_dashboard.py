"""The dashboard shows what a person last read in its golden files: `just dashboard-texts` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.golden.dashboard import FOLDER, all_texts, list_screens, path_of, read_once, read_picture, read_screen

TEXTS = all_texts()
PLACES = {f"{name}-{size[0]}x{size[1]}": (name, size) for name, size in list_screens()}


@pytest.mark.parametrize("name", TEXTS)
def test_the_dashboard_is_its_golden_file(name: str, tmp_path: Path) -> None:
    found, place = TEXTS[name](), name.removesuffix(".styles")
    if found != path_of(name).read_text() and place in PLACES:
        (tmp_path / f"{place}.svg").write_text(read_screen(*PLACES[place]).picture)
    assert found == path_of(name).read_text(), f"if this was meant: just dashboard-texts; its picture is in {tmp_path}"


@pytest.mark.parametrize("place", PLACES)
def test_the_picture_of_a_screen_has_its_characters(place: str) -> None:
    shown = read_screen(*PLACES[place])
    assert [line for line in read_picture(shown.picture) if line] == [
        "".join(line.split()) for line in shown.lines if line.strip()
    ]
    assert not re.search(r"url\((?!#)|href|@import|src=", shown.picture), "it needs nothing from a network"


def test_once_is_the_same_in_every_width() -> None:
    """A pipe has no width, and a table cut to one would lose ids."""
    assert read_once(120) == read_once(80)


def test_there_is_no_golden_file_of_a_screen_that_is_gone() -> None:
    assert sorted(FOLDER.iterdir()) == sorted(map(path_of, TEXTS))
