"""R33: the whole flow on a hospital whose ids, dates and file names are unique: they stay where they are declared."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import re
import shlex
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.synthetic import HospitalSpec, write_hospital
from tests.flow.containers import Container, Ended
from tests.small_runs import MINUTE

pytestmark = pytest.mark.slow
ID_NAMES = ("subject_id", "study_id", "hadm_id", "stay_id", "transfer_id", "dicom_id")
NUMBER = re.compile(rb"(?<![0-9A-Fa-f])[0-9]{8}(?![0-9A-Fa-f])")
FILM = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
DAY = re.compile(rb"(?<![0-9])2[0-9]{3}-[0-9]{2}-[0-9]{2}(?![0-9])")
WORD = re.compile(rb"canary[-_ a-z0-9]*", re.I)
"""In cells and names that are malformed."""
EVIL = "CANARY-JONES"
DECLARED = {
    "ws/cohorts/mimic/": "the cohort: rows of the dataset",
    "ws/images/mimic/index.npz": "which film lies where in the pack",
    "ws/images/mimic/(rejects|noted).csv": "which films were not packed, or look odd: for the owner of the data",
    "ws/images/.seen-mimic.json": "what each file was when it was read",
    "ws/runs/[^/]+/encoder/films.csv": "the films that an encoder has seen, for the audit",
    "ws/evals/[^/]+/predictions.npz": "scores by film, for paired comparisons",
    "ws/checks/": "what of the dataset was verified",
    "ws/exports/mimic-(csv|meds)/": "an export of the rows that the user asked for",
    "out/own-ids.npz": "an export with the dataset's ids, which the user asked for",
    "said/[0-9]+-sql-of-rows.txt": "what the user's own query showed, or met: sql shows rows",
}
"""Place -> why canaries may stand there."""
BUG = """
import sys
import cxrssl.cohort.ingest
from cxrssl.cli.app import main
def fail(tables, rule=None, *more):
    row = tables.image.row(0, named=True)
    try:
        {}[row["subject_id"]]
    except KeyError as error:
        raise ValueError(f"film {row['image_id']} of {row['taken_at']} at {row['path']}, stay CANARY-JONES") from error
cxrssl.cohort.ingest._check_some_films = fail
main()
"""
Row = dict[str, str]
PRETRAIN = ["pretrain", "--recipe", "demo", *(word for change in MINUTE for word in ("--set", change))]
PRETRAIN += ["--machine", "device=cpu", "--machine", "num_threads=1", "--machine", "checkpoint_every=1"]
PRETRAIN += ["--ehr", "demo,meta,stay"]
PROBE = ["probe", "mimic-msn", "--device", "cpu", "--resamples", "20"]
FLOW: list[tuple[list[str], int]] = [
    (["doctor", "{data}"], 0),
    (["doctor", "{data}", "--json"], 0),
    (["check", "{data}"], 3),
    (["check", "{data}", "--json"], 3),
    (["ingest", "mimic", "{data}", "--size", "48", "--shares", "1,2"], 2),
    (["ingest", "nih", "{data}"], 3),
    (["ingest", "mimic", "{data}", "--split-file", "{bad_split}"], 3),
    (["ingest", "mimic", "{data}", "--split-file", "{odd_split}"], 3),
    (["ingest", "mimic", "{data}", "--size", "48", "--cohort", "bug", "BUG"], 1),
    (["ingest", "mimic", "{data}", "--size", "48", "--workers", "1"], 0),
    (["ingest", "mimic", "{data}", "--size", "48", "--json"], 0),
    (["cohort", "list"], 0),
    (["cohort", "show"], 0),
    (["cohort", "show", "--json"], 0),
    (["cohort", "flow", "--small-cells", "show"], 0),
    (["cohort", "audit"], 0),
    (["cohort", "audit", "--json"], 0),
    (["cohort", "export", "--to", "csv"], 0),
    (["cohort", "export", "--to", "meds", "--json"], 0),
    (["cohort", "export", "--to", "csv"], 0),
    (["cohort", "export", "--to", "xml"], 2),
    ([*PRETRAIN, "--set", "train.lr=many"], 2),
    ([*PRETRAIN, "KILL train-after-step:3"], -9),
    (["dashboard", "--once"], 0),
    (PRETRAIN, 0),
    ([*PRETRAIN, "--set", "train.rows=all", "--name", "leaky"], 0),
    (["probe", "mimic-leaky", "--device", "cpu"], 3),
    ([*PROBE, "--split", "10000000"], 2),
    ([*PROBE, "KILL publish-before-rename:2"], -9),
    (PROBE, 0),
    ([*PROBE, "--json"], 0),
    (["report"], 0),
    (["report", "--small-cells", "show", "--name", "all"], 0),
    (["report", "--json"], 0),
    (["cohort", "audit", "--json"], 3),
    (["export", "mimic-msn", "--to", "safetensors"], 0),
    (["embed", "mimic-msn", "--device", "cpu"], 0),
    (["embed", "mimic-msn", "--device", "cpu", "--ids", "dataset", "--out", "{out}/own-ids.npz"], 0),
    (["sql", "SELECT link_status, count(*) FROM film GROUP BY 1"], 0),
    (["sql", "SELECT CAST(subject_id AS DATE) FROM film"], 3),
    (["sql", "SELECT nothing FROM film"], 2),
    (["sql", "SELECT subject_id::INT2 FROM film"], 3),
    (["sql", "SELECT error(image_id) FROM film"], 3),
    (["sql", "--tables"], 0),
    (["sql", "--results", "FROM event", "--limit", "0"], 0),
    (["sql", "--results", "FROM damage"], 0),
    (["dashboard", "--once"], 0),
    (["dashboard", "--json"], 0),
    (["DAMAGE cohorts/mimic/films.npz"], 0),
    (["sql", "SELECT 1"], 3),
    (["cohort", "audit"], 3),
    (["probe", "mimic-msn", "--device", "cpu", "--resamples", "21"], 3),
]  # fmt: skip
"""Words and exit code. A last word in capitals: how the command is disturbed."""


def edit(path: Path, change: Any) -> None:
    """Change the rows of a table in place."""
    with gzip.open(path, "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    change(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def break_films(rows: list[Row]) -> None:
    """One row with a malformed id, one with an impossible day, one film twice, one under another person."""
    rows[1]["study_id"] = f"s{EVIL}"
    rows[2]["StudyDate"] = "21509999"
    rows.append({**rows[3], "StudyTime": "1.0"})
    rows.append({**rows[4], "dicom_id": f"{EVIL}.dcm"})
    rows.append({**rows[5], "subject_id": rows[60]["subject_id"]})


def break_admissions(rows: list[Row]) -> None:
    rows[0]["dischtime"] = f"{EVIL} {rows[0]['dischtime']}"
    rows[1]["hadm_id"] = EVIL
    rows[2]["race"] = EVIL
    rows[3]["admittime"], rows[3]["dischtime"] = rows[3]["dischtime"], rows[3]["admittime"]


def write_world(data: Path) -> None:
    """Write the hospital, and spoil films and rows as downloads and people do."""
    made = write_hospital(data, HospitalSpec(num_patients=40, seed=33, film_px=64))
    (data / "answers.csv").unlink()
    edit(made.cxr_root / "mimic-cxr-2.0.0-metadata.csv.gz", break_films)
    edit(made.ehr_root / "hosp/admissions.csv.gz", break_admissions)
    films = sorted(made.cxr_root.rglob("*.jpg"))
    films[0].unlink()
    films[7].write_bytes(films[7].read_bytes()[:300])
    films[9].write_bytes(f"no film, of {EVIL}".encode())
    (films[11].parent / f"{EVIL}.jpg").write_bytes(films[11].read_bytes())


def list_canaries(data: Path) -> set[bytes]:
    """Return every id, day and name of a film in a dataset; days also as its film tables write them."""
    found = {path.stem.encode() for path in data.rglob("*.jpg")}
    for path in data.rglob("*.csv.gz"):
        with gzip.open(path, "rt", newline="") as lines:
            for row in csv.DictReader(lines):
                found |= {row[name].encode() for name in ID_NAMES if row.get(name)}
                days = {value for cell in row.values() for value in DAY.findall(str(cell).encode())}
                days |= {row[name].encode() for name in ("StudyDate",) if row.get(name)}
                days |= {day[:4] + b"-" + day[4:6] + b"-" + day[6:] for day in days if len(day) == 8}
                found |= days | {day.replace(b"-", b"") for day in days}
    return found


def read_all(path: Path) -> bytes:
    """Return what is in a file, with what is packed in it: arrays, and the cells of Parquet."""
    content = path.read_bytes()
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, contextlib.suppress(zipfile.BadZipFile):  # the flow has damaged one
            for name in archive.namelist():
                content += b"\n" + archive.read(name)
    if path.suffix == ".parquet":
        content += pl.read_parquet(path).cast(pl.String).write_csv().encode()
    return content


def find_canaries(content: bytes, canaries: set[bytes]) -> set[bytes]:
    """Return the canaries in a file, also where text has more than one byte a character."""
    found: set[bytes] = set()
    for text in (content, content.replace(b"\0", b"")):
        seen = {match for pattern in (NUMBER, FILM, DAY) for match in pattern.findall(text)}
        found |= (seen & canaries) | set(WORD.findall(text))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the flow was run: data, ws, out, tmp, home, and the words of each command in said/."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("ws", "out", "tmp", "home", "said"):
        (folder / name).mkdir(mode=0o700)
    write_world(folder / "data")
    subjects = sorted(path.name[1:] for path in (folder / "data").glob("*/files/p*/p*"))
    (folder / "data-bad.csv").write_text(f"subject_id,split\n{subjects[5]},train\n{subjects[5]},test\n")
    (folder / "data-odd.csv").write_text(f"subject_id,split\n{subjects[0]},{EVIL}\n{EVIL},test\n")
    homes = {name: str(folder / place) for name, place in (("TMPDIR", "tmp"), ("HOME", "home"))}
    shell = Container(folder / "shell", True, (), PYTHONDONTWRITEBYTECODE="1", **homes)
    names = {"data": folder / "data", "out": folder / "out"}
    names |= {"bad_split": folder / "data-bad.csv", "odd_split": folder / "data-odd.csv"}
    unexpected: list[str] = []
    for number, (words, code) in enumerate(FLOW):
        ended = run_disturbed(shell, folder, [word.format(**names) for word in words], homes)
        name = "sql-of-rows" if "film" in words[-1] and words[0] == "sql" else words[0].split()[0]
        (folder / "said" / f"{number:02d}-{name}.txt").write_text(ended.text)
        unexpected += [f"{words}: {ended.code}, not {code}\n{ended.text}"] * (ended.code != code)
    shell.close()
    assert not unexpected, "\n".join(unexpected)
    return folder


def run_disturbed(shell: Container, folder: Path, words: list[str], homes: dict[str, str]) -> Ended:
    """Run a command, disturbed as its last word says."""
    how, _, what = words[-1].partition(" ")
    if how == "DAMAGE":
        path = folder / "ws" / what
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        return Ended(0, "")
    if how == "BUG":
        command = [sys.executable, "-c", BUG, *words[:-1], "--workspace", str(folder / "ws")]
        both: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "umask": 0o022}
        done = subprocess.run(command, env={**os.environ, **homes}, text=True, check=False, **both)
        return Ended(done.returncode, done.stdout)
    is_killed = how == "KILL"
    return shell.run(shlex.join(words[:-1] if is_killed else words), folder / "ws", what if is_killed else "")


def list_written(place: Path) -> list[Path]:
    folders = (place / name for name in ("ws", "out", "tmp", "home", "said"))
    return sorted(path for folder in folders for path in folder.rglob("*"))


def test_canaries_are_nowhere_but_in_what_is_declared(place: Path) -> None:
    canaries = list_canaries(place / "data")
    assert len(canaries) > 500
    found: dict[str, set[bytes]] = {}
    for path in list_written(place):
        name = path.relative_to(place).as_posix()
        content = name.encode() + b"\n" + (read_all(path) if path.is_file() else b"")
        if (canaries_here := find_canaries(content, canaries)) and not path.is_dir():
            found[name] = canaries_here
    patterns = {re.compile(pattern): pattern for pattern in DECLARED}
    undeclared = {name: sorted(each)[:3] for name, each in found.items() if not any(p.match(name) for p in patterns)}
    assert not undeclared, "\n".join(f"{name}: {each}" for name, each in undeclared.items())
    unused = {text for pattern, text in patterns.items() if not any(pattern.match(name) for name in found)}
    assert not unused, f"declared and never found: {unused}"


def test_every_file_and_folder_is_its_owners_alone(place: Path) -> None:
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in list_written(place) if "said" not in path.parts}
    wrong = {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)}
    assert not wrong


def test_nothing_is_left_in_the_temporary_folder(place: Path) -> None:
    assert [path for path in list_written(place) if {"tmp", "home"} & set(path.relative_to(place).parts[:1])] == []
