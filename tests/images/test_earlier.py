"""A pack made again: films whose bytes are the same are taken over from the earlier one, all others are not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.core.durable import hash_settings, write_json
from cxrssl.images.decode import decode_film
from cxrssl.images.shard import film_offset
from cxrssl.images.store import open_images
from tests.images.packs import SIZE_PX, call_pack, content_of


def edit_in_place(film: Path, data: bytes) -> None:
    """Give a film other bytes of the same number under its old time."""
    status = film.stat()
    with open(film, "r+b") as file:
        file.write(data)
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert film.stat()[6:9:2] == status[6:9:2]


def same_size(tmp_path: Path, film: Path, seed: int) -> bytes:
    """Return a film of as many bytes as the one at `film` and other pixels: what it lacks in length follows its end."""
    rows, columns = decode_film(Path(film.name), film.parent).shape
    flat = np.full((rows, columns), 40 + seed, np.uint8)
    Image.fromarray(flat).save(tmp_path / film.name)
    data = (tmp_path / film.name).read_bytes()
    assert len(data) <= film.stat().st_size
    return data[:-2] + b"\xff" * (film.stat().st_size - len(data)) + data[-2:]  # fill bytes before a JPEG's end mark


CLOCK_STEP = "cxrssl.core.filestate.CLOCK_STEP_S"


@pytest.mark.parametrize("is_old", [False, True])
def test_film_edited_under_its_size_and_time_is_decoded_again_and_it_alone(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    """Both when the film was written just before it was packed, and when it had lain there for long."""
    paths = make_films(25, broken=(4,))
    if is_old:
        monkeypatch.setattr(CLOCK_STEP, 0.0)
        time.sleep(0.02)
    call_pack(tmp_path, paths)
    film = tmp_path / "data" / paths[7]
    edit_in_place(film, same_size(tmp_path, film, seed=7))
    again = call_pack(tmp_path, paths)
    assert (again.was_current, again.num_packed, again.num_kept) == (False, 24, 24)
    call_pack(tmp_path, paths, "ws/images/fresh")
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/fresh")
    assert call_pack(tmp_path, paths).was_current


def test_films_under_each_others_names_are_told_apart(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where folders were renamed, which changes no time of the films in them."""
    monkeypatch.setattr(CLOCK_STEP, 0.0)
    names = make_films(4)
    paths = []
    for name in names:
        (tmp_path / "data" / name[:-4]).mkdir()
        paths.append(f"{name[:-4]}/film")
        (tmp_path / "data" / name).rename(tmp_path / "data" / paths[-1])
        os.utime(tmp_path / "data" / paths[-1], ns=(0, 0))
    call_pack(tmp_path, paths)
    one, two, aside = (tmp_path / "data" / name for name in (names[0][:-4], names[1][:-4], "aside"))
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    again = call_pack(tmp_path, paths)
    assert (again.was_current, again.num_kept) == (False, 4)
    call_pack(tmp_path, paths, "ws/images/fresh")
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/fresh")


def test_copied_data_set_is_read_and_nothing_is_decoded(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLOCK_STEP, 0.0)
    paths = make_films(25, broken=(4,))
    call_pack(tmp_path, paths)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    monkeypatch.setattr("cxrssl.images.worker.letterbox_film", None)
    assert call_pack(tmp_path, paths).was_current
    monkeypatch.setattr("cxrssl.images.sources.read_film", None)  # and the next call looks at the files, no more
    assert call_pack(tmp_path, paths).was_current


def test_new_film_is_decoded_alone(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(25)
    call_pack(tmp_path, paths[1:])
    again = call_pack(tmp_path, paths)
    assert (again.num_packed, again.num_kept) == (25, 24)
    call_pack(tmp_path, paths, "ws/images/fresh")
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/fresh")


def test_damaged_pack_hands_no_film_on(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(25)
    call_pack(tmp_path, paths)
    shard = tmp_path / "ws/images/world/shard-0001.npy"
    data = bytearray(shard.read_bytes())
    data[film_offset(3, SIZE_PX) + 5] ^= 1
    shard.write_bytes(data)
    (tmp_path / "data" / paths[0]).unlink()
    call_pack(tmp_path, paths)
    call_pack(tmp_path, paths, "ws/images/fresh")
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/fresh")


def test_films_of_another_decoder_or_pipeline_are_not_handed_on(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_films(12)
    call_pack(tmp_path, paths)
    (tmp_path / "data" / paths[0]).unlink()
    with monkeypatch.context() as patch:
        patch.setattr("cxrssl.images.earlier.DECODER", "another")
        assert call_pack(tmp_path, paths).num_kept == 0
    with monkeypatch.context() as patch:
        patch.setattr("cxrssl.images.pack.PIPELINE_VERSION", 99)
        assert call_pack(tmp_path, paths).num_kept == 0


def test_pack_of_an_older_version_is_made_again_once(tmp_path: Path, make_films: Any) -> None:
    """It does not say what it was made of."""
    paths = make_films(12, broken=(3,))
    call_pack(tmp_path, paths)
    (tmp_path / "ws/images/.seen-world.json").unlink(missing_ok=True)
    make_old(tmp_path / "ws/images/world")
    assert open_images(tmp_path / "ws/images/world").is_packed_N.sum() == 11
    again = call_pack(tmp_path, paths)
    assert (again.was_current, again.num_kept) == (False, 0)
    assert call_pack(tmp_path, paths).was_current


def make_old(pack: Path) -> None:
    """Make a pack what versions before `sources.npz` wrote."""
    rejects = pack / "rejects.csv"
    lines = rejects.read_text().splitlines()
    rejects.write_text(
        "\n".join([lines[0] + ",num_bytes,changed_at_ns", *(line + ",1,2" for line in lines[1:])]) + "\n"
    )
    (pack / "sources.npz").unlink()
    manifest = json.loads((pack / "manifest.json").read_text())
    del manifest["manifest_sha256"], manifest["files"]["sources.npz"]
    data = rejects.read_bytes()
    manifest["files"]["rejects.csv"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_json(pack / "manifest.json", {**manifest, "manifest_sha256": hash_settings(manifest)})
