"""CSV that the program reads again: opened in a spreadsheet it runs nothing, and it is read back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from cxrssl.core.text import plain
from cxrssl.images.index import Reject, read_rejects, write_rejects
from cxrssl.records.encoder import SeenFilms, read_films
from tests.hostile import hostile_texts, runs_in_a_spreadsheet


def test_names_of_films_run_in_no_spreadsheet_and_are_read_back(tmp_path: Path) -> None:
    rejects = [Reject(plain(text), plain(text), "truncated") for text in hostile_texts(300, seed=3)]
    write_rejects(tmp_path, rejects)
    assert read_rejects(tmp_path) == rejects
    with open(tmp_path / "rejects.csv", encoding="utf-8", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if runs_in_a_spreadsheet(cell)]


def test_the_films_of_an_encoder_are_read_back(tmp_path: Path) -> None:
    ids = np.array([plain(text) for text in hostile_texts(300, seed=4)])
    films = SeenFilms(ids, ids[::-1], np.full(len(ids), b"0f"))
    (tmp_path / "films.csv").write_bytes(films.to_csv())
    back = read_films(tmp_path / "films.csv")
    for name in ("image_id", "subject_id", "pixel_hash"):
        assert (getattr(back, name) == getattr(films, name)).all(), name
    with open(tmp_path / "films.csv", encoding="utf-8", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if runs_in_a_spreadsheet(cell)]
