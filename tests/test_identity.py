"""What ingest keeps is tied to the bytes that it came from: a second ingest equals a fresh one, whatever was edited."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.doctor import examine
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.release.check import check_release
from cxrssl.cohort.release.listing import LISTING
from cxrssl.cohort.sources import SourceOptions
from cxrssl.core import filestate
from cxrssl.core.errors import DataError, SetupError
from cxrssl.core.filmfile import refuse
from cxrssl.core.workspace import Workspace
from cxrssl.images.index import read_rejects
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from tests.images.dicom_films import draw_cells, make_film
from tests.scale import scaled
from tests.world import write_nih

NUM_ROUNDS = 3


def write_dicoms(root: Path) -> Path:
    """Ten people with two films each, a table of labels, and the map that explains it."""
    rows = ["mrn,edema"]
    for number in range(20):
        patient = f"P{number // 2}"
        uid = {"SOPInstanceUID": f"1.2.3.{number}", "StudyInstanceUID": f"1.2.4.{number}"}
        tags = {"PatientID": patient, "PatientSex": "FM"[number % 2], "PatientAge": f"0{30 + number}Y"}
        path = root / "films" / patient / f"{number:02d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_film(draw_cells(seed=number), **uid, **tags))
        rows += [f"{patient},{number // 2 % 2}"] if number % 2 else []
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    lines = ["[labels]", 'file = "labels.csv"', 'column = "mrn"', 'key = "patient"', "[labels.findings]", 'E = "edema"']
    (root / "map.toml").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films are few, and none ends its decoder."""
    monkeypatch.setattr("cxrssl.images.pack.count_workers", lambda *_: 0)


def write_pngs(root: Path) -> Path:
    return write_nih(root, num_patients=10)


def options_of(root: Path) -> IngestOptions:
    if (root / "map.toml").exists():
        return IngestOptions("dicom", root / "films", map=root / "map.toml", size_px=32, num_workers=1)
    return IngestOptions("nih", root, size_px=32, num_workers=1)


def films_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".png", ".dcm"))


def table_of(root: Path) -> Path:
    return next(path for path in (root / "labels.csv", root / "Data_Entry_2017.csv") if path.exists())


def overwrite(path: Path, data: bytes) -> None:
    """Write in place, and give the file its old time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.truncate(len(data))
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_pixels(root: Path, rng: random.Random) -> None:
    """The same number of bytes at the same time: other pixels (DICOM) or a damaged film (PNG)."""
    path = rng.choice(films_of(root))
    data = bytearray(path.read_bytes())
    places = range(max(0, len(data) - 600), len(data) - 20)  # an earlier edit may have cut the film short
    for at in rng.sample(places, min(300, len(places))):
        data[at] = rng.randrange(256)
    overwrite(path, bytes(data))


def change_tag(root: Path, rng: random.Random) -> None:
    """Another sex in a header, or other labels in a table, under the old size and time."""
    path = rng.choice(films_of(root))
    data = path.read_bytes()
    for old, new in ((b"CS\x02\x00F ", b"CS\x02\x00M "), (b"CS\x02\x00M ", b"CS\x02\x00F ")):
        if old in data:
            overwrite(path, data.replace(old, new))
            return
    change_table(root, rng)


def change_table(root: Path, rng: random.Random) -> None:
    lines = table_of(root).read_text().splitlines()
    row = rng.randrange(1, len(lines))
    swap = {"M": "F", "F": "M", "0": "1", "1": "0"}
    cells = lines[row].split(",")
    at = 5 if len(cells) > 5 else 1
    cells[at] = swap[cells[at]]
    lines[row] = ",".join(cells)
    overwrite(table_of(root), ("\n".join(lines) + "\n").encode())


def swap_names(root: Path, rng: random.Random) -> None:
    one, other = rng.sample(films_of(root), 2)
    aside = root / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def swap_folders(root: Path, rng: random.Random) -> None:
    """Which changes no time of the films in them."""
    folders = sorted({path.parent for path in films_of(root)})
    if len(folders) < 2:
        swap_names(root, rng)
        return
    one, other = rng.sample(folders, 2)
    one.rename(root / "aside")
    other.rename(one)
    (root / "aside").rename(other)


def cut(root: Path, rng: random.Random) -> None:
    path = rng.choice(films_of(root))
    overwrite(path, path.read_bytes()[:-40])


def empty(root: Path, rng: random.Random) -> None:
    overwrite(rng.choice(films_of(root)), b"")


def remove(root: Path, rng: random.Random) -> None:
    rng.choice(films_of(root)).unlink()


def fetch_again(root: Path, rng: random.Random) -> None:
    """All films as they were published, each a new file with its published time."""
    for path in sorted((root.parent / "published").rglob("*")):
        place = root / path.relative_to(root.parent / "published")
        if path.suffix in (".png", ".dcm"):
            place.unlink(missing_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)


def move_to_another_disk(root: Path, rng: random.Random) -> None:
    shutil.copytree(root, root.parent / "elsewhere")
    shutil.rmtree(root)
    (root.parent / "elsewhere").rename(root)


EDITS: list[Callable[[Path, random.Random], Any]] = [
    change_pixels, change_tag, change_table, swap_names, swap_folders, cut, empty, remove, fetch_again,
    move_to_another_disk,
]  # fmt: skip


def ingest(workspace: Workspace, root: Path, links: Path | None = None) -> dict[str, Any]:
    """Ingest and return all that is known of each film, by its id, and of the cohort."""
    options = replace(options_of(root), links=links)
    ingest_dataset(workspace, options)
    folder = workspace.cohorts / options.dataset
    images = open_images(workspace.images / options.dataset)
    pixels: list[Any] = [None] * len(images.image_id)
    for row in np.flatnonzero(images.is_packed_N).tolist():
        pixels[row] = hashlib.sha256(images.read_rows([row]).tobytes()).hexdigest()
    packed = {
        str(image_id): [pixels[row], *(array[row].tolist() for array in images.index[3:])]
        for row, image_id in enumerate(images.image_id)
    }
    return {
        "cohort": {row["image_id"]: row for row in pl.read_parquet(folder / "films.parquet").to_dicts()},
        "films": packed,
        "rejected films": read_rejects(images.path),
        "rejected rows": (folder / "rejects.csv").read_text().splitlines(),
        "summary": (folder / "summary.json").read_text(),
    }


@pytest.mark.fuzz
@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
@pytest.mark.parametrize("seed", range(scaled(2, 100)))
def test_second_ingest_equals_a_fresh_one_film_by_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, write: Callable[[Path], Path]
) -> None:
    """After each of some rounds of edits; under odd seeds as if all files had lain there for long."""
    if seed % 2:
        monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)
    rng = random.Random(f"{seed} {write.__name__}")
    root = write(tmp_path / "data")
    shutil.copytree(root, tmp_path / "published")
    kept = Workspace(tmp_path / "workspace").create()
    ingest(kept, root)
    for number in range(NUM_ROUNDS):
        edits = rng.choices(EDITS, k=rng.randrange(1, 4))
        for edit in edits:
            edit(root, rng)
        if rng.random() < 0.3:
            files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != LISTING)
            sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root)}" for path in files]
            (root / LISTING).write_text("\n".join(sums) + "\n")
            check_release(kept, root)
        fresh = Workspace(tmp_path / f"fresh-{number}").create()
        if kept.checks.is_dir():
            shutil.copytree(kept.checks, fresh.checks)
        said = ", ".join(edit.__name__ for edit in edits)
        assert ingest(kept, root) == ingest(fresh, root), f"seed {seed}, round {number}: {said}"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of films that the disk fails to give while they are in this set."""
    names: set[str] = set()
    truly_open = os.open

    def open_or_fail(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if Path(os.fsdecode(path)).name in names:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return truly_open(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", open_or_fail)
    return names


@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
@pytest.mark.parametrize("is_old", [False, True])
def test_film_that_could_not_be_read_for_a_moment_is_tried_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: set[str],
    write: Callable[[Path], Path],
    is_old: bool,
) -> None:
    """Nothing tells that it can be read now: neither its state nor its size has changed."""
    if is_old:
        monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)
    root = write(tmp_path / "data")
    kept, fresh = (Workspace(tmp_path / name).create() for name in ("kept", "fresh"))
    failing |= {path.name for path in films_of(root)[3:6]}
    made, packed = ingest_dataset(kept, options_of(root))
    assert packed is not None
    assert len(packed.rejects) + sum(made.values["films"]["rejected"].values()) == 3
    made, packed = ingest_dataset(kept, options_of(root))
    assert packed is not None
    assert made.was_current
    assert packed.was_current
    failing.clear()
    assert ingest(kept, root) == ingest(fresh, root)
    made, packed = ingest_dataset(kept, options_of(root))
    assert made.was_current
    assert packed is not None
    assert (packed.was_current, packed.num_packed) == (True, 20)


@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
def test_disk_that_goes_away_stops_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: set[str], write: Callable[[Path], Path]
) -> None:
    monkeypatch.setattr("cxrssl.core.filmfile.MANY_IN_A_ROW", 8)
    root = write(tmp_path / "data")
    workspace = Workspace(tmp_path / "workspace").create()
    before = ingest(workspace, root)
    failing |= {path.name for path in films_of(root)[4:]}
    with pytest.raises(SetupError, match="8 films in a row cannot be read, the last: unreadable"):
        ingest_dataset(workspace, replace(options_of(root), is_anew=True))
    failing |= {path.name for path in films_of(root)}
    with pytest.raises(SetupError, match="cannot be read"):
        ingest_dataset(Workspace(tmp_path / "other").create(), options_of(root))
    failing.clear()
    assert ingest(workspace, root) == before


def test_few_films_none_of_which_can_be_read_are_no_fault_of_the_data(tmp_path: Path, failing: set[str]) -> None:
    root = write_pngs(tmp_path / "data")
    failing |= {path.name for path in films_of(root)}
    with pytest.raises(SetupError, match="no film can be packed: 20 unreadable"):
        ingest_dataset(Workspace(tmp_path / "workspace").create(), options_of(root))


def make_link_farm(root: Path, num_links: int) -> Path:
    """Move films into a store by their hashes and leave links, as a model hub's cache has them."""
    blobs = root.parent / "hub" / "blobs"
    blobs.mkdir(parents=True)
    for path in films_of(root)[:num_links]:
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        path.symlink_to(blob)
    return blobs


@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
def test_films_that_are_links_into_a_store_are_read_when_asked(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    root = write(tmp_path / "data")
    plain = ingest(Workspace(tmp_path / "plain").create(), root)
    blobs = make_link_farm(root, 20)
    workspace = Workspace(tmp_path / "workspace").create()
    with pytest.raises(DataError, match=r"20 outside the dataset folder|outside the dataset folder 20") as caught:
        ingest_dataset(workspace, options_of(root))
    assert "20 films are links out of the dataset folder" in caught.value.hint
    assert caught.value.hint.endswith(f"--follow-links {blobs}")
    _, packed = ingest_dataset(workspace, replace(options_of(root), links=blobs))
    assert packed is not None
    assert packed.num_packed == 20
    followed = ingest(workspace, root, blobs)
    assert followed["films"] == plain["films"]
    assert followed["cohort"] == plain["cohort"]


@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
def test_few_links_are_named_with_what_to_type(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    root = write(tmp_path / "data")
    blobs = make_link_farm(root, 3)
    made, packed = ingest_dataset(Workspace(tmp_path / "workspace").create(), options_of(root))
    assert packed is not None
    said = [*made.values["remarks"], packed.note]
    assert sum(line.endswith(f"which cxrssl ingest reads with --follow-links {blobs}") for line in said) == 1


def test_check_follows_links_when_asked(tmp_path: Path) -> None:
    root = write_pngs(tmp_path / "data")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root)}" for path in films_of(root)]
    (root / LISTING).write_text("\n".join(sums) + "\n")
    blobs = make_link_farm(root, 20)
    workspace = Workspace(tmp_path / "workspace").create()
    assert check_release(workspace, root).values["faults"]["refused"] == 20
    assert check_release(workspace, root, links=blobs).values["verified"] == 20
    made, _ = ingest_dataset(workspace, replace(options_of(root), links=blobs))
    assert made.values["release"]["films"] == [20, 20]


def forget_change_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that keeps neither a time of change nor inodes."""
    poor = filestate.state_of
    for place in ("core.filestate", "core.filmfile", "cohort.release.hashing"):
        monkeypatch.setattr(f"cxrssl.{place}.state_of", lambda status: poor(status)._replace(changed_ns=0, inode=0))


def test_check_anew_and_ingest_anew_see_what_a_poor_file_system_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_change_times(monkeypatch)
    root = write_pngs(tmp_path / "data")
    workspace, other, fresh = (Workspace(tmp_path / name).create() for name in ("kept", "other", "fresh"))
    for each in (workspace, other):
        ingest(each, root)
    swap_names(root, random.Random(0))
    listing = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root)}" for path in films_of(root)]
    (root / LISTING).write_text("\n".join(listing) + "\n")
    wanted = ingest(fresh, root)["films"]
    ingest_dataset(other, replace(options_of(root), is_anew=True))
    check_release(workspace, root, is_anew=True)
    assert ingest(workspace, root)["films"] == ingest(other, root)["films"] == wanted


def test_film_that_changes_between_check_and_packing_is_not_called_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_change_times(monkeypatch)
    root = write_pngs(tmp_path / "data")
    listing = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root)}" for path in films_of(root)]
    (root / LISTING).write_text("\n".join(listing) + "\n")
    workspace = Workspace(tmp_path / "workspace").create()
    check_release(workspace, root)
    change_pixels(root, random.Random(0))
    with pytest.raises(DataError, match="1 film changed after the check"):
        ingest_dataset(workspace, options_of(root))


def test_inodes_that_a_network_folder_invents_cost_a_reading_and_no_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)
    root = write_pngs(tmp_path / "data")
    workspace = Workspace(tmp_path / "workspace").create()
    ingest(workspace, root)
    truly, inodes = filestate.state_of, iter(range(10**6))
    monkeypatch.setattr(filestate, "state_of", lambda status: truly(status)._replace(inode=next(inodes)))
    monkeypatch.setattr("cxrssl.images.worker.letterbox_film", None)
    _, packed = ingest_dataset(workspace, options_of(root))
    assert packed is not None
    assert packed.was_current


def test_twin_that_cannot_be_read_for_a_moment_is_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one SOPInstanceUID are read whole, and only inside the folder."""

    def fail(*_: Any) -> Any:
        raise refuse("unreadable")

    root = write_dicoms(tmp_path / "data")
    shutil.copy2(root / "films/P0/00.dcm", root / "films/P0/copy.dcm")
    workspace = Workspace(tmp_path / "workspace").create()
    with monkeypatch.context() as patch:
        patch.setattr("cxrssl.cohort.sources.dicom.hash_film", fail)
        made = build_cohort(workspace, options_of(root))
        assert made.values["films"]["rejected"] == {"SOPInstanceUID: in two files that differ": 2}
    made = build_cohort(workspace, options_of(root))
    assert made.values["films"]["rejected"] == {"the same file again": 1}


@pytest.mark.parametrize("num_links", [20, 10])
@pytest.mark.parametrize("write", [write_pngs, write_dicoms])
def test_doctor_says_that_films_are_links_out_of_the_folder(
    tmp_path: Path, write: Callable[[Path], Path], num_links: int
) -> None:
    root = write(tmp_path / "data")
    options = options_of(root)
    blobs = make_link_farm(root, num_links)
    (report,) = examine(SourceOptions(options.dataset, options.path))
    said = report.missing if num_links == 20 else report.remarks
    assert len([line for line in said if line.endswith(f"--follow-links {blobs}")]) == 1
