"""Listing films: what is a film, what is none, and the same answer as the plainest walk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxrssl.cohort.files import MAX_FILM_DEPTH, leave_unwritable, list_films
from cxrssl.core.errors import DataError


def write(path: Path, size: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_films_are_listed_with_their_sizes_however_deep_they_lie(tmp_path: Path) -> None:
    write(tmp_path / "files" / "top.jpg", 0)
    write(tmp_path / "files" / "p10" / "p10000001" / "s50000001" / "a.jpg", 3)
    write(tmp_path / "files" / "p10" / "B.JPEG", 2)
    write(tmp_path / "files" / "p10" / "c.PNG", 1)
    write(tmp_path / "files" / "p10" / "index.html")
    write(tmp_path / "files" / "p10" / "jpg")
    write(tmp_path / "elsewhere" / "d.jpg")
    (tmp_path / "files" / "p10" / "e.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "files" / "p10" / "f.jpg").mkdir()
    (tmp_path / "files" / "p11").symlink_to(tmp_path / "elsewhere")
    assert list_films(tmp_path, ["files", "absent"]) == {
        "files/top.jpg": 0,
        "files/p10/p10000001/s50000001/a.jpg": 3,
        "files/p10/B.JPEG": 2,
        "files/p10/c.PNG": 1,
        "files/p11/d.jpg": 1,
    }


def test_folder_that_contains_itself_comes_to_an_end(tmp_path: Path) -> None:
    write(tmp_path / "files" / "p10" / "a.jpg")
    (tmp_path / "files" / "p10" / "again").symlink_to(tmp_path / "files" / "p10")
    assert len(list_films(tmp_path, ["files"])) == MAX_FILM_DEPTH + 1


def test_listing_equals_a_walk_of_the_tree(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path / "files" / f"p1{number % 7}" / f"p{number % 31}" / f"s{number % 97}" / f"{number}.jpg", number)
    expected = {
        os.path.relpath(Path(folder) / name, tmp_path): (Path(folder) / name).stat().st_size
        for folder, _, names in os.walk(tmp_path)
        for name in names
    }
    assert list_films(tmp_path, ["files"]) == expected
    assert list_films(tmp_path, [""]) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "files" / "p10" / "p10000001" / "a.jpg")
    (tmp_path / "files" / "p10" / "p10000001").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        list_films(tmp_path, ["files"])
    (tmp_path / "files" / "p10" / "p10000001").chmod(0o700)


def test_a_film_whose_name_is_not_utf_8_is_left_aside_and_counted(tmp_path: Path) -> None:
    names = [b"a.jpg", "b\u00e9.jpg".encode(), b"c\xe9.jpg"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"film")
    films = list_films(tmp_path, [""])
    assert len(films) == 3
    assert leave_unwritable(films) == ["films ignored because their names are not UTF-8: 1"]
    assert sorted(films) == ["a.jpg", "b\u00e9.jpg"]
    assert leave_unwritable(films) == []
