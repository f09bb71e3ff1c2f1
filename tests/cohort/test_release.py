"""The release check: planted faults are found and none else, a killed check goes on, a cohort says what it knows."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.release.check import check_release, read_faults
from cxrssl.cohort.release.listing import LISTING, find_listings, read_listing
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.workspace import Workspace
from tests.scale import scaled

NUM_FILES = 200


def write_listing(folder: Path, more: list[str] | None = None) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LISTING)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}" for path in files]
    (folder / LISTING).write_text("\n".join([*lines, *(more or [])]) + "\n")


def write_release(folder: Path, num_files: int = NUM_FILES, seed: int = 0) -> Path:
    rng = random.Random(seed)
    for number in range(num_files):
        path = folder / f"p{number % 7}" / f"s{number % 3}" / f"film {number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(20, 3000)))
    write_listing(folder)
    return folder


def found(check: Any) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in check.faults]


def test_a_whole_release_has_no_fault_and_is_published(workspace: Workspace, tmp_path: Path) -> None:
    check = check_release(workspace, write_release(tmp_path / "data"))
    assert check.faults == []
    assert check.values["verified"] == check.values["listed"] == check.num_hashed == NUM_FILES
    assert json.loads((open_artefact(check.path, "check").path / "summary.json").read_text()) == check.values


def plant(rng: random.Random, folder: Path, outside: Path) -> list[tuple[str, str]]:
    """Break 50 things of a release and return them as (kind, path)."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))]
    rng.shuffle(names)
    wanted = []

    def take(kind: str) -> Path:
        wanted.append((kind, names.pop()))
        return folder / wanted[-1][1]

    for _ in range(9):
        take("missing").unlink()
    for _ in range(8):  # one bit, with size and time as before
        path = take("mismatch")
        data, status = bytearray(path.read_bytes()), path.stat()
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(5):
        path = take("mismatch")
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    for _ in range(3):
        path = take("mismatch")
        path.write_bytes(path.read_bytes() + b"\n")
    take("mismatch").write_bytes(b"")
    one, other = take("mismatch"), take("mismatch")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    for kind in ("folder", "pipe"):
        path = take("unreadable")
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    for target in (outside / "secret", Path("/etc/passwd")):
        path = take("refused")
        path.unlink()
        path.symlink_to(target)
    path = take("missing")
    path.unlink()
    path.symlink_to(folder / "nothing")
    path = take("unreadable")
    path.unlink()
    path.symlink_to(path)  # a loop
    for number in range(7):
        extra = folder / f"p{number}" / f"copy of {number}.jpg"
        extra.write_bytes(b"x")
        wanted.append(("extra", extra.relative_to(folder).as_posix()))
    secret = hashlib.sha256(b"secret").hexdigest()
    (folder / "way out").symlink_to(outside)
    lines = {
        f"{secret} ../outside/secret": "../outside/secret",
        f"{secret} {outside}/secret": f"{outside}/secret",
        f"{secret} p1/../../outside/secret": "p1/../../outside/secret",
        f"{secret} way out/secret": "way out/secret",
        f"{secret} p1//x.jpg": "p1//x.jpg",
        f"{secret[:-1]} p1/short.jpg": f"{secret[:-1]} p1/short.jpg",
        "no checksum at all": "no checksum at all",
        f"{secret} p1/\x1b[31m.jpg": "p1/\N{REPLACEMENT CHARACTER}[31m.jpg",
        f"{secret} {names[-1]}": names[-1],  # the same file under a second checksum
    }
    wanted += [("refused", shown) for shown in lines.values()]
    listing = folder / LISTING
    listing.write_text(listing.read_text() + "\n".join(lines) + "\n")
    return wanted


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(scaled(2, 20)))
def test_fifty_planted_faults_are_found_and_none_else(workspace: Workspace, tmp_path: Path, seed: int) -> None:
    folder = write_release(tmp_path / "data", seed=seed)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    wanted = plant(random.Random(seed), folder, tmp_path / "outside")
    assert len(wanted) == 50
    check = check_release(workspace, folder)
    assert Counter(found(check)) == Counter(wanted)
    assert check.values["verified"] == NUM_FILES - sum(kind != "extra" for kind, _ in wanted) + 9  # lines are no files
    assert sum(check.values["faults"].values()) == 50
    again = check_release(workspace, folder)
    assert (again.path, again.faults) == (check.path, check.faults)


OPENED: list[str] = []


def _note_open(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and args and isinstance(args[0], str | bytes):
        OPENED.append(os.fsdecode(args[0]))


@pytest.fixture(scope="module")
def opened() -> list[str]:
    """Paths that Python opens; an audit hook stays until the process ends."""
    sys.addaudithook(_note_open)
    return OPENED


HOSTILE = [
    "..",
    "../..",
    "/",
    "/etc/passwd",
    "C:\\windows",
    "a\0b",
    "/dev/zero",
    "x" * 4000,
    "p1/" * 300,
    "~root",
    "%2e%2e/x",
]
HOSTILE += [
    "．．/x",
    "a\u202eb",
    "\ufeff",
    "$(id)",
    "`id`",
    "file:///etc/passwd",
    "out/secret",
    "loop/secret",
    "p1/../p1",
    "-",
]


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(scaled(1, 5)))
def test_hostile_names_open_nothing_outside_the_folder(
    workspace: Workspace, tmp_path: Path, opened: list[str], seed: int
) -> None:
    rng = random.Random(seed)
    folder = write_release(tmp_path / "data", 20)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder / "loop")
    names = ["/".join(rng.choices([*HOSTILE, "p1", "s0"], k=rng.randrange(1, 4))) for _ in range(100)]
    digest = hashlib.sha256(b"secret").hexdigest()
    write_listing(folder, [f"{digest} {name}" for name in [*HOSTILE, *names]])
    opened.clear()
    check = check_release(workspace, folder)
    outside = [path for path in opened if not Path(path).is_relative_to(tmp_path / "data") and "workspace" not in path]
    assert [path for path in outside if path.startswith(("/etc", "/dev", str(tmp_path)))] == []
    assert check.values["verified"] == 20
    assert (tmp_path / "outside" / "secret").read_bytes() == b"secret"


def test_faults_run_in_no_spreadsheet_and_are_read_back(workspace: Workspace, tmp_path: Path) -> None:
    names = ["=1+1.jpg", "-x.jpg", "'=2.jpg", "+3.csv"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LISTING).write_text("".join(f"{'0' * 64} {name}\n" for name in names))
    check = check_release(workspace, tmp_path / "data")
    table = check.path / "faults.csv"
    assert sorted(fault.path for fault in read_faults(table)) == sorted(names)
    assert {line.split(",")[1] for line in table.read_text().splitlines()[1:]} == {f"'{name}" for name in names}


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as old: of such files the state alone is believed."""
    monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_read_again(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "data")
    first = check_release(workspace, folder)
    film = sorted(folder.rglob("*.jpg"))[5]
    film.write_bytes(b"other")
    second = check_release(workspace, folder)
    assert second.num_hashed == 1
    assert found(second) == [("mismatch", film.relative_to(folder).as_posix())]
    assert second.path != first.path


@pytest.mark.parametrize("is_old", [False, True])
def test_damage_that_keeps_size_and_time_is_seen(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    """Both of files that had lain there for long, and of files that were read just after they were written."""
    if is_old:
        monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)
    folder = write_release(tmp_path / "data")
    check_release(workspace, folder)
    film = sorted(folder.rglob("*.jpg"))[5]
    status, data = film.stat(), bytearray(film.read_bytes())
    data[0] ^= 1
    film.write_bytes(data)
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    check = check_release(workspace, folder)
    assert (len(check.faults), check.num_hashed) == (1, 1 if is_old else NUM_FILES)


@pytest.mark.usefixtures("settled")
def test_check_anew_reads_every_file(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "data")
    first = check_release(workspace, folder)
    assert check_release(workspace, folder).num_hashed == 0
    anew = check_release(workspace, folder, is_anew=True)
    assert (anew.path, anew.num_hashed) == (first.path, NUM_FILES)


@pytest.mark.usefixtures("settled")
def test_copy_on_another_disk_is_read_and_has_the_same_check(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "data")
    first = check_release(workspace, folder)
    copy = check_release(workspace, shutil.copytree(folder, tmp_path / "copy"))
    assert (copy.path, copy.num_hashed) == (first.path, NUM_FILES)
    assert check_release(workspace, folder).num_hashed == check_release(workspace, tmp_path / "copy").num_hashed == 0


@pytest.mark.crash
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("point", [1, 60, *range(70, 70 + scaled(0, 20))])
def test_a_killed_check_goes_on_where_it_was(workspace: Workspace, tmp_path: Path, point: int) -> None:
    folder = write_release(tmp_path / "data")
    command = [sys.executable, "-m", "cxrssl", "check", str(folder), "--workspace", str(workspace.root)]
    environment = {**os.environ, "CXRSSL_KILL_AT": f"check-after-file:{point}"}
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    check = check_release(workspace, folder)
    assert (check.faults, check.num_hashed) == ([], NUM_FILES - point)


def test_ctrl_c_lets_go_of_a_large_file_at_once(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)  # a quarter of an hour to hash
    (folder / LISTING).write_text(f"{'0' * 64} large\n")
    command = [sys.executable, "-m", "cxrssl", "check", str(folder), "--workspace", str(workspace.root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(workspace.root.glob("checks/*.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error


def test_listings_are_found_by_themselves(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("mimic-cxr-jpg/2.1.0", "mimiciv/3.1"):
        write_release(tmp_path / "data" / name, 3)
    assert [folder.name for folder in find_listings(tmp_path / "data")] == ["2.1.0", "3.1"]
    with pytest.raises(DataError, match=r"no SHA256SUMS\.txt"):
        find_listings(tmp_path / "data" / "mimiciv" / "3.1" / "p0")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / LISTING).write_text("\n")
    with pytest.raises(DataError, match="lists no file"):
        check_release(workspace, tmp_path / "empty")
    with pytest.raises(UsageError, match="inside the dataset folder"):
        check_release(Workspace(tmp_path / "data" / "ws"), tmp_path / "data")


def test_lines_of_sha256sum_and_of_physionet_are_read(tmp_path: Path) -> None:
    digest = "AB" * 32
    (tmp_path / LISTING).write_text(f"\ufeff{digest} a\r\n{digest}  b c\n{digest} *d\n{digest}  ./e\n")
    assert read_listing(tmp_path).sums == dict.fromkeys(["a", "b c", "d", "e"], digest.lower())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"{'0' * 64} ../x", "a path that leaves the folder"),
        (f"{'0' * 64} a/../../x", "a path that leaves the folder"),
        (f"{'0' * 64} /x", "an absolute path"),
        (f"{'0' * 64} a//x", "not a plain path"),
        (f"{'0' * 64} a\x9bx", "control characters in the path, or not UTF-8"),
        (f"{'0' * 63} x", "not a SHA-256 and a path"),
        (f"{'1' * 64} good", "listed twice with two checksums"),
    ],
)
def test_a_line_is_refused_for_a_reason_before_any_file_is_looked_for(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / LISTING).write_text(f"{'0' * 64} good\n{line}\n")
    listing = read_listing(tmp_path)
    assert list(listing.sums) == ["good"]
    assert [fault.detail for fault in listing.refused] == [f"line 2: {why}"]


def test_a_cohort_says_whether_its_files_were_checked(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")

    def release() -> dict[str, Any]:
        summary = build_cohort(workspace, IngestOptions("mimic", root))
        assert open_artefact(summary.path, "cohort").settings["release"] == summary.values["release"]["state"]
        return dict(summary.values["release"])

    write_listing(root)
    assert release() == {"state": "unverified", "tables": [0, 6], "films": [0, 4], "checks": []}
    check = check_release(workspace, root)
    assert release() == {"state": "verified", "tables": [6, 6], "films": [4, 4], "checks": [check.path.name]}
    assert build_cohort(workspace, IngestOptions("mimic", root)).was_current
    film = next((root / "files").rglob("*.jpg"))
    film.write_bytes(film.read_bytes() + b"\0")
    assert release() == {"state": "partly verified", "tables": [6, 6], "films": [3, 4], "checks": []}
    again = check_release(workspace, root)
    assert release() == {"state": "partly verified", "tables": [6, 6], "films": [3, 4], "checks": [again.path.name]}


def test_a_table_changed_under_its_old_time_is_not_verified(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", gz=False)
    write_listing(root)
    check_release(workspace, root)
    table = root / "hosp" / "patients.csv"
    status = table.stat()
    table.write_text(table.read_text().replace(",F,", ",M,"))
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert build_cohort(workspace, IngestOptions("mimic", root)).values["release"]["tables"] == [5, 6]


def test_the_line_of_reports_names_what_was_checked() -> None:
    assert describe_release("nih", None).startswith("nih: unverified")
    release = {"state": "partly verified", "tables": [1, 1], "films": [3, 4], "checks": ["x"]}
    assert describe_release("mimic", release).endswith("1 of 1 table, 3 of 4 films")


def test_mimic_demo_lacks_one_file_and_has_one_more(data: Path, workspace: Workspace, tmp_path: Path) -> None:
    folder = data / "mimic-iv-clinical-database-demo-2.2"
    check = check_release(workspace, folder)
    assert found(check) == [("missing", "icu/chartevents.csv.gz"), ("extra", "SOURCE.txt")]
    assert check.values["verified"] == 33
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert len(check_release(workspace, copy).faults) == 2
