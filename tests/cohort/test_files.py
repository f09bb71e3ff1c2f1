"""Listing films: what is a film, what is none, and the same answer as the plainest walk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrssl.cli.app import app
from cxrssl.cohort.files import leave_unwritable, list_films
from cxrssl.core.errors import SetupError
from tests.world import write_nih


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


def test_folder_that_contains_itself_is_listed_once(tmp_path: Path) -> None:
    """Through one link, or through two that lead into each other's folder."""
    write(tmp_path / "files" / "p10" / "a.jpg")
    write(tmp_path / "files" / "p11" / "b.jpg")
    (tmp_path / "files" / "p10" / "again").symlink_to(tmp_path / "files")
    remarks: list[str] = []
    assert sorted(list_films(tmp_path, ["files"], remarks=remarks)) == ["files/p10/a.jpg", "files/p11/b.jpg"]
    assert remarks == ["links that lead nowhere, or round in a circle: 1"]
    (tmp_path / "files" / "p10" / "again").unlink()
    (tmp_path / "files" / "p10" / "x").symlink_to("../p11")
    (tmp_path / "files" / "p11" / "y").symlink_to("../p10")
    films = sorted(list_films(tmp_path, ["files"]))
    assert films == ["files/p10/a.jpg", "files/p10/x/b.jpg", "files/p11/b.jpg", "files/p11/y/a.jpg"]


@pytest.mark.parametrize("target", ["loop.jpg", "nowhere", ".", "a.jpg/b", "x" * 300])
def test_link_that_leads_to_no_film_ends_no_command(tmp_path: Path, target: str) -> None:
    root = write_nih(tmp_path / "nih", num_patients=12)
    write(root / "a.jpg")
    for place in (root / "loop.jpg", root / "images" / "loop.jpg"):
        with contextlib.suppress(OSError):  # a link may not be as long as a file's name
            place.symlink_to(target)
    listed = [path for path in sorted(root.rglob("*")) if not path.is_symlink() and path.is_file()]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root)}" for path in listed]
    (root / "SHA256SUMS.txt").write_text("\n".join(sums) + "\n")
    workspace = ["--workspace", str(tmp_path / "ws")]
    for command in (["doctor"], ["check", *workspace], ["ingest", "nih", *workspace, "--size", "32", "--workers", "1"]):
        words = [command[0], *(word for word in command[1:2] if word == "nih"), str(root)]
        result = CliRunner().invoke(app, [*words, *(word for word in command[1:] if word != "nih")])
        assert result.exit_code == 0, (command, result.output, result.exception)
    assert "24 of 24 films packed" in result.stdout


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
    with pytest.raises(SetupError, match="cannot be read"):
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
