"""What `cxrssl doctor` sees: the dataset, its version, what is missing, and the command to type next."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort import doctor
from cxrssl.cohort.doctor import count_films, examine
from cxrssl.cohort.files import Layout
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.sources import SourceOptions
from cxrssl.cohort.tables.peek import estimate_rows, peek_columns
from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.images.shard import packed_bytes
from tests.cli import command
from tests.cohort.dicom_files import write_dicom


def run(*words: object, code: int = 0) -> str:
    result = command.run("doctor", *words)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def look(path: Path, **options: Any) -> doctor.DatasetReport:
    (report,) = examine(SourceOptions("", path, **options))
    return report


def test_whole_mimic_is_ready_and_the_next_command_is_told(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    text = run(root, "--workspace", tmp_path / "ws", "--size", 64)
    assert f"mimic in {root}" in text
    assert "2.2 or later (column admit_provider_id)" in text
    assert "4 films on the disk, about 4 in the tables" in text
    assert "files/p10/" in text
    assert "no ed/edstays.csv.gz" in text
    assert "MISSING" not in text
    command = f"next: cxrssl ingest mimic {root} --size 64 --workspace {tmp_path / 'ws'}"
    assert text.splitlines()[-1] == command
    assert not (tmp_path / "ws").exists()


def test_all_that_is_missing_is_told_at_once_with_what_would_do(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", films=False)
    for name in ("hosp/admissions", "mimic-cxr-2.0.0-split"):
        (root / f"{name}.csv.gz").unlink()
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").rename(root / "mimic-cxr-2.0.0-negbio.csv.gz")
    report = look(root)
    assert [what.split(" is missing")[0] for what in report.missing] == [
        "mimic-cxr-2.0.0-chexpert.csv.gz",
        "mimic-cxr-2.0.0-split.csv.gz",
        "hosp/admissions.csv.gz",
    ]
    assert "--labels negbio" in report.missing[0]
    text = run(root, code=3)
    assert text.count("MISSING: ") == 3
    assert "next:" not in text


def test_hospital_without_films_and_films_without_hospital(world: Any, tmp_path: Path) -> None:
    world.write(tmp_path / "cxr", ehr_root=tmp_path / "ehr")
    (without_films,) = examine(SourceOptions("", tmp_path / "ehr"))
    assert without_films.dataset == "mimic"
    assert len(without_films.tables) == 3
    assert without_films.missing[0].startswith("no MIMIC-CXR-JPG and no MIMIC-CXR found")
    (without_ehr,) = examine(SourceOptions("", tmp_path / "cxr"))
    assert "--ehr" in without_ehr.missing[0]
    assert not look(tmp_path / "cxr", ehr=tmp_path / "ehr").missing


def test_no_film_on_the_disk_is_missing_and_few_are_a_note(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", films=False)
    assert "--films" in look(root).missing[0]
    film = root / "files" / "p10" / "p10000001" / "s50000001" / f"{world.metadata[0]['dicom_id']}.jpg"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"x")
    report = look(root)
    assert not report.missing
    assert "about 3 films of the tables are not on the disk and will be rejected as missing" in report.remarks


def refused(root: Path, dataset: str, workspace: Path) -> str:
    """Return what ingest says of the folder, or ""."""
    try:
        build_cohort(Workspace(workspace), IngestOptions(dataset, root))
    except CxrsslError as error:
        return error.what
    return ""


HARM: dict[str, Callable[[str], bytes]] = {
    "plain text named gz": lambda text: text.encode(),
    "cut": lambda text: gzip.compress(text.encode())[:-20],
    "web page": lambda text: b"<html>login, please</html>",
    "UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
    "semicolons": lambda text: gzip.compress(text.replace(",", ";").encode()),
    "times": lambda text: gzip.compress(text.replace("2151-", "51/").encode()),
    "ids": lambda text: gzip.compress(text.replace("1000000", "S1000000").encode()),
    "other people": lambda text: gzip.compress(
        text.replace(",1000000", ",1700000").replace("\n1000", "\n1700").encode()
    ),
    "header only": lambda text: gzip.compress(text.partition("\n")[0].encode() + b"\n"),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["hosp/patients", "hosp/admissions", "icu/icustays", "mimic-cxr-2.0.0-chexpert"])
def test_doctor_promises_nothing_that_ingest_refuses(harm: str, name: str, world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    path = root / f"{name}.csv.gz"
    path.write_bytes(HARM[harm](gzip.decompress(path.read_bytes()).decode()))
    what = refused(root, "mimic", tmp_path / "ws")
    missing = look(root).missing
    assert bool(missing) == bool(what), (missing, what)
    assert not what or missing[0].startswith(what)


def test_folder_whose_films_no_table_names_is_not_ready(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    for number, path in enumerate(sorted((root / "files").rglob("*.jpg"))):
        path.rename(path.with_name(f"copy{number}.jpg"))
    assert look(root).missing == ["none of 4 films looked at can be used: no table names them"]


def test_folder_named_by_a_person_is_not_shown(tmp_path: Path) -> None:
    for patient in ("patient00001", "patient00002"):
        (tmp_path / "train" / patient / "study1").mkdir(parents=True)
        (tmp_path / "train" / patient / "study1" / "view1_frontal.jpg").write_bytes(b"x")
    assert count_films(Layout("chexpert", tmp_path, {}, ("train",))).by_folder == {"train": 2}


def test_json_says_the_same(world: Any, tmp_path: Path) -> None:
    summary = json.loads(run(world.write(tmp_path / "data"), "--json"))
    (report,) = summary["datasets"]
    assert summary["is_ready"]
    assert report["films"] == {"by_folder": {"files/p10": 4}, "is_exact": True, "expected": 4, "found": 4}
    assert report["packed_bytes"] == packed_bytes(4, 320)
    assert summary["machine"]["free_bytes"] > 0
    assert summary["next"] == [f"cxrssl ingest mimic {tmp_path / 'data'}"]


def test_machine_alone(tmp_path: Path) -> None:
    text = run("--workspace", tmp_path / "ws")
    assert "explicit VR" in text
    assert "torch" in text
    assert text.splitlines()[-1] == "next: cxrssl doctor PATH"


def test_torch_is_not_imported_and_nothing_is_written(world: Any, tmp_path: Path, folder_hash: Any) -> None:
    root = world.write(tmp_path / "data")
    before = folder_hash(root)
    script = (
        "import sys; from cxrssl.cli.app import main\n"
        f"sys.argv = ['cxrssl', 'doctor', {str(root)!r}]\n"
        "try: main()\nexcept SystemExit as end: print('torch' in sys.modules, end.code)"
    )
    environment = {**os.environ, "CXRSSL_WORKSPACE": str(tmp_path / "ws")}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.stdout.splitlines()[-1] == "False 0"
    assert folder_hash(root) == before
    assert not (tmp_path / "ws").exists()


def test_folder_of_nothing_and_no_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shows no known dataset"):
        examine(SourceOptions("", tmp_path))
    with pytest.raises(UsageError, match="no such folder"):
        examine(SourceOptions("", tmp_path / "nowhere"))
    with pytest.raises(UsageError, match='no dataset "mimik"'):
        examine(SourceOptions("mimik", tmp_path))


def test_disk_that_is_too_small_is_told(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrssl.images.shard.packed_bytes", lambda num_films, size_px: 1 << 60)
    from typer.testing import CliRunner

    from cxrssl.cli.app import app

    result = CliRunner().invoke(app, ["doctor", str(world.write(tmp_path / "data"))])
    assert result.exit_code == 3
    assert "MISSING: disk: " in result.output


def test_dicom_folder_tells_its_compressions_and_missing_codecs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for num in range(3):
        write_dicom(tmp_path / "data" / f"{num}" / "a", SOPInstanceUID=f"1.2.3.{num}")
    report = look(tmp_path / "data")
    assert (report.dataset, report.films.found, report.films.expected) == ("dicom", 3, None)
    assert report.syntaxes == {"explicit VR": 3}
    assert not report.missing
    monkeypatch.setattr(doctor, "find_codecs", lambda: {"explicit VR": "some-codec"})
    assert look(tmp_path / "data").missing == ["a codec for explicit VR: install some-codec"]


def test_two_datasets_under_one_folder_are_both_told(world: Any, tmp_path: Path) -> None:
    world.write(tmp_path / "data" / "mimic")
    nih = tmp_path / "data" / "nih"
    (nih / "images").mkdir(parents=True)
    (nih / "images" / "00000001_000.png").write_bytes(b"x")
    (nih / "Data_Entry_2017.csv").write_text("Image Index\n00000001_000.png\n")
    assert [report.dataset for report in examine(SourceOptions("", tmp_path / "data"))] == ["mimic", "nih"]
    assert [report.dataset for report in examine(SourceOptions("nih", tmp_path / "data"))] == ["nih"]


def test_films_of_many_folders_are_counted_from_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for patient in range(100):
        folder = tmp_path / "files" / "p10" / f"p{patient:08d}" / "s1"
        folder.mkdir(parents=True)
        for film in range(3):
            (folder / f"{film}.jpg").write_bytes(b"")
        (folder / "note.txt").write_bytes(b"")
    report = count_films(Layout("mimic", tmp_path, {}, ("files",)))
    assert (report.by_folder, report.is_exact) == ({"files/p10": 300}, False)
    monkeypatch.setattr(doctor, "SAMPLED_FOLDERS", 100)
    report = count_films(Layout("mimic", tmp_path, {}, ("files",)))
    assert (report.by_folder, report.is_exact) == ({"files/p10": 300}, True)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("num_rows", [0, 1, 1_000, 100_000])
def test_rows_are_estimated_from_the_beginning(num_rows: int, gz: bool, tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{i:06d},{i * 7919 % 10007:05d}\n" for i in range(num_rows))
    path = tmp_path / ("t.csv.gz" if gz else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if gz else text.encode())
    assert estimate_rows(path) == pytest.approx(num_rows, rel=0 if num_rows <= 1_000 else 0.02)
    assert peek_columns(path) == ("a", "b")


def test_file_that_cannot_be_read_has_no_columns_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(b"\x1f\x8bnot gzip")
    assert peek_columns(tmp_path / "t.csv.gz") == peek_columns(tmp_path / "none.csv") == ()
    assert estimate_rows(tmp_path / "t.csv.gz") == 0


def test_real_datasets_are_recognised(data: Path) -> None:
    assert [report.dataset for report in examine(SourceOptions("", data / "nih_chestxray14"))] == ["nih"]
    assert [report.dataset for report in examine(SourceOptions("", data / "covid19_cxr"))] == ["covid"]
    assert [report.dataset for report in examine(SourceOptions("", data / "dicom_radiographs"))] == ["dicom"]
    nih = look(data / "nih_chestxray14")
    assert nih.films.found == 1_000
    assert nih.films.expected == pytest.approx(112_120, rel=0.05)
