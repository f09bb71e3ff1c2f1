"""`rejects.csv` of a pack: opened in a spreadsheet it runs nothing, and what is read back is what was written."""

from __future__ import annotations

import csv
from pathlib import Path

from cxrssl.core.text import plain
from cxrssl.images.index import Reject, read_rejects, write_rejects
from tests.hostile import hostile_texts, runs_in_a_spreadsheet


def test_names_of_films_run_in_no_spreadsheet_and_are_read_back(tmp_path: Path) -> None:
    rejects = [Reject(plain(text), plain(text), "truncated") for text in hostile_texts(300, seed=3)]
    write_rejects(tmp_path, rejects)
    assert read_rejects(tmp_path) == rejects
    with open(tmp_path / "rejects.csv", encoding="utf-8", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if runs_in_a_spreadsheet(cell)]
