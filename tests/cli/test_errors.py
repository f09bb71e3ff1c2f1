"""Bad input at the command line: one sentence with a hint, the documented exit code, nothing half-written."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.synthetic import HospitalSpec, write_hospital
from tests.cli.command import Result, run
from tests.world import make_workspace, write_nih


def assert_refused(result: Result | subprocess.CompletedProcess[str], code: int, *fragments: str) -> None:
    assert result.returncode == code, result.stderr
    error = result.stderr[result.stderr.index("cxrssl: error: ") :]
    for fragment in fragments:
        assert fragment in error, error
    assert "Traceback" not in result.stderr
    assert len(error.strip().splitlines()) <= 3, error
    assert result.stdout == ""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A packed world for commands that are refused before they write."""
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=12)


def leftovers(workspace: Path) -> list[Path]:
    return [path for path in workspace.rglob("*") if path.is_file()] if workspace.exists() else []


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hospital")
    write_hospital(root, HospitalSpec(num_patients=25, seed=3, film_px=64))
    return root


@pytest.fixture
def broken(hospital: Path, tmp_path: Path) -> Path:
    """A copy of the hospital to break."""
    return shutil.copytree(hospital, tmp_path / "hospital")


def test_a_missing_table_is_named(broken: Path, tmp_path: Path) -> None:
    (broken / "mimic-iv-2.2/icu/icustays.csv.gz").unlink()
    assert_refused(run("ingest", "mimic", broken, workspace=tmp_path / "ws"), 3, "icustays.csv.gz", "hint: ")
    assert not leftovers(tmp_path / "ws")


def test_a_missing_column_is_named_with_its_table(broken: Path, tmp_path: Path) -> None:
    table = broken / "mimic-iv-2.2/hosp/patients.csv.gz"
    text = gzip.decompress(table.read_bytes()).decode().replace("anchor_age", "anchor_aeg", 1)
    table.write_bytes(gzip.compress(text.encode()))
    result = run("ingest", "mimic", broken, workspace=tmp_path / "ws")
    assert_refused(result, 3, "patients.csv.gz", '"anchor_age"', "anchor_aeg")
    assert not leftovers(tmp_path / "ws")


def test_a_truncated_film_is_counted_named_and_left_out(broken: Path, tmp_path: Path) -> None:
    film = sorted((broken / "mimic-cxr-jpg-2.0.0/files").rglob("*.jpg"))[0]
    film.write_bytes(film.read_bytes()[:700])
    result = run("ingest", "mimic", broken, "--size", "48", "--workers", "1", workspace=tmp_path / "ws")
    assert result.returncode == 0, result.stderr
    assert "rejected: truncated  1" in result.stdout
    assert film.name not in result.stdout  # it may hold a subject's id
    assert f"each is named in {tmp_path / 'ws/images/mimic/rejects.csv'}" in result.stdout
    assert film.name in (tmp_path / "ws/images/mimic/rejects.csv").read_text()


def test_films_that_are_all_broken_are_an_error(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", num_patients=3)
    for film in (root / "images").iterdir():
        film.write_bytes(film.read_bytes()[:60])
    assert_refused(run("ingest", "nih", root, workspace=tmp_path / "ws"), 3, "hint: ")
    assert not (tmp_path / "ws/images/nih").exists()


def test_an_unknown_ehr_name_gets_the_nearest_one(workspace: Workspace) -> None:
    result = run("pretrain", "--ehr", "demo,veiw", "--recipe", "demo", workspace=workspace.root)
    assert_refused(result, 2, "veiw", 'nearest is "view"')
    assert not workspace.runs.exists()


@pytest.mark.parametrize("make", [True, False])
def test_an_empty_or_absent_folder_is_one_sentence(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "data").mkdir()
    for dataset in ("mimic", "nih", "covid"):
        result = run("ingest", dataset, tmp_path / "data", workspace=tmp_path / "ws")
        assert_refused(result, 3 if make else 2, str(tmp_path / "data"), "hint: ")
    assert not leftovers(tmp_path / "ws")


def test_the_folder_of_another_dataset_says_which_it_looks_like(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", num_patients=2)
    assert_refused(run("ingest", "mimic", root, workspace=tmp_path / "ws"), 3, "looks like nih")


def test_a_workspace_that_cannot_be_written_is_exit_4(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", num_patients=2)
    # A path below a file cannot be made by anybody, root included.
    (tmp_path / "file").write_text("")
    assert_refused(run("ingest", "nih", root, workspace=tmp_path / "file/ws"), 4, "cannot write", "--workspace")
    assert_refused(run("ingest", "nih", root, workspace="/proc/cxrssl"), 4, "cannot write", "--workspace")


def test_unknown_words_are_exit_2(workspace: Workspace, tmp_path: Path) -> None:
    root = workspace.root
    assert_refused(run("ingest", "mimc", tmp_path, workspace=root), 2, "mimc", "mimic")
    assert_refused(run("pretrain", "--recipe", "strickt", workspace=root), 2, "strickt", "strict")
    assert_refused(run("pretrain", "--set", "views.focal_xp=9", workspace=root), 2, "focal_xp", "focal_px")
    assert_refused(run("pretrain", "--cohort", "nhi", workspace=root), 2, '"nhi"', "nih")
    assert_refused(run("pretrain", "--bakbone", "x", workspace=root), 2, "--bakbone")
    assert_refused(run("probe", "nothing", workspace=root), 2, "nothing")
    assert_refused(run("report", workspace=root), 3, "cxrssl probe")


def test_a_missing_device_is_exit_4(workspace: Workspace) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    words = ["pretrain", "--recipe", "demo", "--set", "train.batch_size=8", "--device", "cuda"]
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(workspace.root)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert_refused(result, 4, "CUDA")
    assert "cxrssl: run nih-" in result.stderr  # before torch is loaded


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", num_patients=4)
    result = run("ingest", "nih", root, "--size", "48", "--json", workspace=tmp_path / "ws")
    assert json.loads(result.stdout)["cohort"]["films"]["accepted"] == 8
    again = run("ingest", "nih", root, "--size", "48", "--json", workspace=tmp_path / "ws")
    assert json.loads(again.stdout)["was_current"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = f"{sys.executable} -m cxrssl --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_mistyped_workspace_is_not_made(tmp_path: Path) -> None:
    for command in ("cohort show", "report", "dashboard --once", "pretrain"):
        result = run(*command.split(), workspace=tmp_path / "absent")
        assert_refused(result, 3, "there is no workspace", "--workspace")
    assert not (tmp_path / "absent").exists()


def test_text_from_data_reaches_the_terminal_without_control_characters(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    result = run("pretrain", "--cohort", "\x1b[31mred\x07", workspace=workspace.create().root)
    assert "\x1b" not in result.stderr
    assert "\x07" not in result.stderr


@pytest.mark.parametrize("words", [[], ["cohort"]])
def test_a_group_alone_shows_its_help(words: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", "cxrssl", *words], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ")
    assert "\nCommands:\n" in result.stderr
