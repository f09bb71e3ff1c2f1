"""pack_images: the same bytes for any number of workers and after any interruption, and nothing lost in silence."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core import durable
from cxrssl.core.errors import DataError, SetupError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.images.decode import decode_letterboxed
from cxrssl.images.fingerprint import hash_pixels, identical_pairs, perceptual_hash
from cxrssl.images.pack import PackSummary
from cxrssl.images.shard import film_offset, packed_bytes, write_films
from cxrssl.images.store import open_images
from tests.images.packs import SIZE_PX, arguments, call_pack, content_of

SCRIPT = """
import json, sys
from pathlib import Path
from cxrssl.images.pack import pack_images
call = json.load(open(sys.argv[1]))
if __name__ == "__main__":
    pack_images(Path(call.pop("dest")), Path(call.pop("dataset_root")), **call)
"""


def kill_pack(tmp_path: Path, paths: list[str], kill_at: str) -> None:
    """Make the same call in a fork of this process, which dies at this point."""
    child = os.fork()
    if child == 0:
        try:
            durable._KILL_AT = kill_at
            durable._passed.clear()
            call_pack(tmp_path, paths)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def start_pack(tmp_path: Path, paths: list[str], kill_at: str = "", **changes: Any) -> subprocess.Popen[bytes]:
    """Start the same call in a process of its own, the leader of its process group."""
    places = {"dest": str(tmp_path / "ws/images/world"), "dataset_root": str(tmp_path / "data")}
    (tmp_path / "call.json").write_text(json.dumps({**places, **arguments(paths), "num_workers": 1, **changes}))
    (tmp_path / "call.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "call.py"), str(tmp_path / "call.json")],
        env={**os.environ, "CXRSSL_KILL_AT": kill_at, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until(is_true: Any, seconds: float = 300.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_true():
            return True
        time.sleep(0.02)
    return False


def is_group_gone(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("shard_films", [10, 40])
def test_rows_are_the_films_in_the_given_order(tmp_path: Path, make_films: Any, shard_films: int) -> None:
    paths = make_films(43)
    summary = call_pack(tmp_path, paths, shard_films=shard_films)
    store = open_images(tmp_path / "ws/images/world")
    assert (summary.num_films, summary.num_packed, summary.rejects, summary.was_current) == (43, 43, [], False)
    assert summary.images_per_s > 0
    assert store.size_px == SIZE_PX
    assert store.image_id.tolist() == [f"id-{i}" for i in range(43)]
    for i, path in enumerate(paths):
        film = decode_letterboxed(Path(path), tmp_path / "data", SIZE_PX)
        np.testing.assert_array_equal(store.read_rows([i])[0], film.pixels_SS)
        assert tuple(store.box_N4[i]) == film.box
        assert tuple(store.source_px_N2[i]) == film.source_px == (40 + i % 9, 30 + i % 17)


def test_files_are_what_the_design_says_any_tool_can_read(tmp_path: Path, make_films: Any) -> None:
    call_pack(tmp_path, make_films(23))
    folder = tmp_path / "ws/images/world"
    names = ["shard-0000.npy", "shard-0001.npy", "shard-0002.npy"]
    others = ["index.npz", "manifest.json", "noted.csv", "rejects.csv"]
    assert sorted(path.name for path in folder.iterdir()) == [*others, *names, "sources.npz"]
    shapes = [np.load(folder / name).shape for name in names]
    assert shapes == [(10, 32, 32), (10, 32, 32), (3, 32, 32)]
    with np.load(folder / "index.npz") as index:
        assert {name: index[name].dtype.str for name in index.files} == {
            "image_id": "<U5",
            "shard": "<i4",
            "row": "<i4",
            "box_N4": "<i2",
            "source_px_N2": "<i4",
            "pixel_hash": "|S32",
            "phash": "<u8",
            "note": "<u2",
        }


def test_rejected_films_are_listed_and_leave_no_hole(tmp_path: Path, make_films: Any) -> None:
    broken = (0, 3, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22)
    paths = make_films(24, broken=broken)
    paths[5] = "absent.png"
    summary = call_pack(tmp_path, paths)
    folder = tmp_path / "ws/images/world"
    expected = [(f"id-{i}", paths[i], "file missing" if i == 5 else "truncated") for i in sorted((*broken, 5))]
    assert summary.rejects == expected
    assert summary.num_packed + len(summary.rejects) == summary.num_films == 24
    with open(folder / "rejects.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image_id", "path", "rule"]
    assert [tuple(row) for row in rows] == summary.rejects
    assert [len(np.load(folder / f"shard-000{k}.npy")) for k in range(3)] == [6, 0, 3]
    store = open_images(folder)
    assert np.flatnonzero(~store.is_packed_N).tolist() == sorted((*broken, 5))
    for i in np.flatnonzero(store.is_packed_N):
        film = decode_letterboxed(Path(paths[i]), tmp_path / "data", SIZE_PX)
        np.testing.assert_array_equal(store.read_rows([i])[0], film.pixels_SS)
    assert not store.box_N4[5].any()
    assert store.index.row[[1, 2, 4, 5, 6, 20]].tolist() == [0, 1, 2, -1, 3, 0]
    assert store.index.shard[[1, 5, 20]].tolist() == [0, -1, 2]


def test_one_and_two_workers_make_the_same_bytes(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(70, broken=(4, 33, 69))
    one = call_pack(tmp_path, paths, "ws/images/one")
    two = call_pack(tmp_path, paths, "ws/images/two", num_workers=2)
    assert one.rejects == two.rejects
    assert content_of(tmp_path / "ws/images/one") == content_of(tmp_path / "ws/images/two")


def test_second_call_does_nothing(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12, broken=(3,))
    first = call_pack(tmp_path, paths)
    folder = tmp_path / "ws/images/world"
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    second = call_pack(tmp_path, paths, num_workers=0)
    assert second == PackSummary(12, 11, first.rejects, first.notes, 0.0, was_current=True)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before


@pytest.mark.parametrize("change", [{"size_px": 48}, {"shard_films": 5}, {"cohort_sha256": "c1"}])
def test_other_settings_make_it_anew(tmp_path: Path, make_films: Any, change: dict[str, Any]) -> None:
    paths = make_films(12)
    call_pack(tmp_path, paths)
    assert not call_pack(tmp_path, paths, **change).was_current


def test_other_films_make_it_anew(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12)
    call_pack(tmp_path, paths)
    assert not call_pack(tmp_path, paths[:11]).was_current
    assert not call_pack(tmp_path, [paths[1], paths[0], *paths[2:11]]).was_current


def test_missing_film_that_comes_back_is_packed(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12)
    (tmp_path / "data" / paths[7]).rename(tmp_path / "aside")
    assert call_pack(tmp_path, paths).num_packed == 11
    assert call_pack(tmp_path, paths).was_current
    (tmp_path / "aside").rename(tmp_path / "data" / paths[7])
    assert call_pack(tmp_path, paths).num_packed == 12


@pytest.mark.parametrize("was_published", [True, False])
def test_rejected_film_is_looked_at_again_when_its_file_changed(
    tmp_path: Path, make_films: Any, was_published: bool
) -> None:
    paths = make_films(12)
    film = tmp_path / "data" / paths[7]
    whole = film.read_bytes()
    film.write_bytes(whole[:-20])
    if was_published:
        assert call_pack(tmp_path, paths).num_packed == 11
        assert call_pack(tmp_path, paths).was_current
    else:
        kill_pack(tmp_path, paths, "pack-after-shard:1")
    film.write_bytes(whole[:-10])  # a download that goes on
    summary = call_pack(tmp_path, paths)
    assert [reject.rule for reject in summary.rejects] == ["truncated"]
    assert not summary.was_current
    film.write_bytes(whole)
    assert call_pack(tmp_path, paths).num_packed == 12


def test_rejected_film_of_the_same_size_and_another_time_is_looked_at_again(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12)
    film = tmp_path / "data" / paths[0]
    whole = film.read_bytes()
    film.write_bytes(whole[:-30] + b"\0" * 30)
    os.utime(film, ns=(0, 1_000_000_000))
    assert call_pack(tmp_path, paths).num_packed == 11
    film.write_bytes(whole)
    assert call_pack(tmp_path, paths).num_packed == 12


def test_fingerprints_are_those_of_the_packed_films(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(23, broken=(4,))
    paths[11] = paths[2]
    call_pack(tmp_path, paths)
    store = open_images(tmp_path / "ws/images/world")
    packed = np.flatnonzero(store.is_packed_N)
    films = store.read_all()
    assert store.index.pixel_hash[packed].tolist() == [hash_pixels(film) for film in films]
    np.testing.assert_array_equal(store.index.phash[packed], perceptual_hash(films, store.box_N4[packed]))
    assert (store.index.pixel_hash[4], store.index.phash[4]) == (b"", 0)
    first, second = identical_pairs(store.index.pixel_hash)
    assert (first.tolist(), second.tolist()) == ([2], [11])


def test_missing_film_that_comes_back_after_a_kill_is_packed(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(25)
    (tmp_path / "data" / paths[7]).rename(tmp_path / "aside")
    kill_pack(tmp_path, paths, "pack-after-shard:2")
    (tmp_path / "aside").rename(tmp_path / "data" / paths[7])
    assert call_pack(tmp_path, paths).num_packed == 25


def test_shard_that_is_not_whole_is_made_again(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(25, broken=(2,))
    call_pack(tmp_path, paths, "ws/images/whole")
    kill_pack(tmp_path, paths, "pack-after-shard:2")
    (building,) = (tmp_path / "ws/images").glob(".building-world~*")
    os.truncate(building / "shard-0000.npy", 4000)
    (building / ".part-0001.npy").write_bytes(b"")
    call_pack(tmp_path, paths)
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/whole")


KILL_POINTS = [
    "pack-after-shard:1",
    "pack-after-shard:2",
    "pack-film:15",
    "write-before-fsync:1",
    "write-before-rename:2",
    "pack-after-index:1",
    "publish-before-rename:1",
    "publish-after-rename:1",
]


@pytest.mark.parametrize("kill_at", KILL_POINTS)
def test_killed_pack_is_taken_up_and_ends_the_same(tmp_path: Path, make_films: Any, kill_at: str) -> None:
    paths = make_films(25, broken=(4, 12))
    call_pack(tmp_path, paths, "ws/images/whole")
    kill_pack(tmp_path, paths, kill_at)
    dest = tmp_path / "ws/images/world"
    assert dest.exists() == (kill_at == "publish-after-rename:1")
    whole_before = {path.stat().st_ino for path in dest.parent.glob(".building-world~*/shard-*.npy")}
    call_pack(tmp_path, paths)
    assert content_of(dest) == content_of(tmp_path / "ws/images/whole")
    kept = {path.stat().st_ino for path in dest.glob("shard-*.npy")} & whole_before
    unfinished = 1 if kill_at.startswith("write-") else 0
    assert len(kept) == len(whole_before) - unfinished
    if kill_at.startswith("pack-after-shard"):
        assert len(kept) == int(kill_at[-1])
    assert [path.name for path in dest.parent.iterdir() if path.name.startswith(".building")] == []


def test_killed_parent_takes_its_workers_with_it(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(80, broken=(4,))
    call_pack(tmp_path, paths, "ws/images/whole")
    killed = start_pack(tmp_path, paths, "pack-after-shard:1", num_workers=2)
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert wait_until(lambda: is_group_gone(killed.pid))
    call_pack(tmp_path, paths, num_workers=2)
    assert content_of(tmp_path / "ws/images/world") == content_of(tmp_path / "ws/images/whole")


def test_dying_worker_is_an_error_that_names_its_rows(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_films(70)
    with monkeypatch.context() as patch:
        # Both workers read it when they start; the first to hold its 18th film dies.
        patch.setenv("CXRSSL_KILL_AT", "pack-film:18")
        with pytest.raises(SetupError, match=r"a worker process died; [12] films? in hand: row ") as caught:
            call_pack(tmp_path, paths, num_workers=2)
    named = caught.value.what.partition("in hand: row ")[2].split(", ")
    assert 1 <= len(named) <= 2
    assert set(map(int, named)) <= set(range(len(paths)))
    assert not (tmp_path / "ws/images/world").exists()
    assert call_pack(tmp_path, paths, num_workers=2).num_packed == 70


@pytest.mark.parametrize("moment", [".shard-0000.npy.*.tmp", "shard-0000.npy"])
def test_interrupt_stops_all_workers_without_a_word_from_them(tmp_path: Path, make_films: Any, moment: str) -> None:
    """While the workers start, and while they work."""
    paths = make_films(2) * 20_000
    running = start_pack(tmp_path, paths, num_workers=2, shard_films=100)
    building = tmp_path / "ws/images"
    assert wait_until(lambda: any(building.glob(f".building-world~*/{moment}")))
    time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=300)
    assert running.returncode == -signal.SIGINT
    assert stderr.count(b"Traceback") == 1
    assert wait_until(lambda: is_group_gone(running.pid))
    assert not (building / "world").exists()


def test_full_disk_is_refused_beforehand_with_both_numbers(
    tmp_path: Path, make_films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_films(12)
    needed = packed_bytes(12, 1024)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed - 1))
    with pytest.raises(SetupError, match=r"12\.6 MiB free on the disk, 12\.6 MiB needed"):
        call_pack(tmp_path, paths, size_px=1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed))
    assert call_pack(tmp_path, paths, size_px=1024).num_packed == 12


@pytest.mark.parametrize("num_workers", [1, 2])
def test_disk_that_refuses_a_write_is_a_setup_error_and_publishes_nothing(
    tmp_path: Path, make_films: Any, num_workers: int
) -> None:
    paths = make_films(70)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Workers inherit the limit on the size of a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(SetupError, match="cannot write: file too large"):
            call_pack(tmp_path, paths, shard_films=40, num_workers=num_workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "ws/images/world").exists()
    assert call_pack(tmp_path, paths, shard_films=40).num_packed == 70


def test_films_are_written_whole_though_the_disk_takes_them_in_parts(tmp_path: Path) -> None:
    class SlowDisk(io.FileIO):
        room = 100_000

        def write(self, data: Any) -> int:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = super().write(data[: min(1000, self.room)])
            self.room -= taken
            return taken

    films = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    with SlowDisk(tmp_path / "shard", "w+") as disk:
        write_films(disk, 3, films)
        disk.seek(film_offset(3, 32))
        assert disk.read() == films.tobytes()
        disk.room = 4000
        with pytest.raises(OSError, match="No space left"):
            write_films(disk, 3, films)


def test_folder_without_any_film_is_an_error_and_is_not_remembered(tmp_path: Path, make_films: Any) -> None:
    """Films that were there when they were listed are gone with their disk."""
    paths = make_films(12)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="no film can be packed: 12 file missing"):
        call_pack(tmp_path, paths)
    with pytest.raises(DataError, match="there is none"):
        call_pack(tmp_path, [])
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    assert call_pack(tmp_path, paths).num_packed == 12


def test_films_that_were_all_damaged_are_looked_at_again(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12, broken=tuple(range(12)))
    with pytest.raises(DataError, match="no film can be packed: 12 truncated"):
        call_pack(tmp_path, paths)
    make_films(12)
    assert call_pack(tmp_path, paths).num_packed == 12


def test_two_packs_of_one_cohort_at_a_time_are_refused(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12)
    with (
        hold_lock(tmp_path / "ws/images/.lock-world", UsageError("")),
        pytest.raises(UsageError, match="by another process"),
    ):
        call_pack(tmp_path, paths)
    assert call_pack(tmp_path, paths).num_packed == 12


def test_dataset_folder_is_never_written_to(tmp_path: Path, make_films: Any) -> None:
    paths = make_films(12)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}
    call_pack(tmp_path, paths)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()} == before


def test_control_characters_of_a_path_do_not_reach_the_list(tmp_path: Path, make_films: Any) -> None:
    paths = [*make_films(3), "a\x1b[31m,\n.png"]
    summary = call_pack(tmp_path, paths)
    assert [reject.rule for reject in summary.rejects] == ["file missing"]
    text = (tmp_path / "ws/images/world/rejects.csv").read_text()
    assert text.splitlines()[1:] == ['id-3,"a\N{REPLACEMENT CHARACTER}[31m,\N{REPLACEMENT CHARACTER}.png",file missing']
    again = call_pack(tmp_path, paths)
    assert (again.was_current, again.rejects) == (True, summary.rejects)
