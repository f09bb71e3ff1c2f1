"""Every command on cohorts that lack what a cohort usually has: a number with its mark, or one sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrssl.cohort.export import FORMATS
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from tests.cli.command import Result, run
from tests.images.dicom_films import draw_cells, make_film
from tests.scale import scaled
from tests.world import TINY, make_workspace, write_nih

pytestmark = pytest.mark.fuzz
KNOWN_CODES = (0, 2, 3, 4)
TRAIN = [word for change in [*TINY[:-2], "train.batch_size=2", "train.num_epochs=1"] for word in ("--set", change)]
ON_CPU = ("--device", "cpu", "--resamples", "20", "--allow-overlap")
NOT_A_NUMBER = re.compile(r"(?<![\w.-])[+-]?(nan|NaN|inf|Infinity|None)(?![\w-])")


def write_dicoms(root: Path, num_films: int = 6, **tags: str) -> list[str]:
    """Write films of as many people, without labels and without a record unless `tags` have one."""
    root.mkdir()
    for number in range(num_films):
        ids = {name: f"1.{place}.{number + 1}" for place, name in enumerate(("SOPInstanceUID", "StudyInstanceUID"))}
        film = make_film(draw_cells(seed=number), **ids, PatientID=f"p{number}", **tags)
        (root / f"{number}.dcm").write_bytes(film)
    return ["dicom", str(root)]


def write_table(root: Path, num_patients: int, films_each: int, change: Callable[[str], str] = str) -> list[str]:
    """Write films of the NIH layout, its table changed."""
    table = write_nih(root, num_patients, films_each, seed=8) / "Data_Entry_2017.csv"
    table.write_text(change(table.read_text()))
    return ["nih", str(root)]


def split_into(parts: str, films_each: int = 1) -> Callable[[Path], list[str]]:
    """Return what writes a dataset and a split of it: the part of each person by its first letter."""

    def write(root: Path) -> list[str]:
        words = write_table(root, len(parts), films_each)
        named = {"r": "train", "v": "val", "t": "test"}
        rows = [f"{number},{named[part]}" for number, part in enumerate(parts, 1)]
        file = root.with_suffix(".csv")
        file.write_text("\n".join(["subject_id,split", *rows]) + "\n")
        return [*words, "--split-file", str(file)]

    return write


def break_films(root: Path) -> list[str]:
    words = write_table(root, 6, 1)
    for film in (root / "images").iterdir():
        film.write_bytes(film.read_bytes()[:60])
    return words


ODD: dict[str, Callable[[Path], list[str]]] = {
    "no-finding": lambda root: write_dicoms(root, PatientSex="F", PatientAge="050Y"),
    "no-feature": lambda root: write_table(root, 12, 1, lambda text: re.sub(r",\d+,[MF],(PA|AP),", ",,,,", text)),
    "neither": write_dicoms,
    "no-train": split_into("vvvvvtttttt"),
    "no-val": split_into("rrrrrrtttttt"),
    "no-test": split_into("rrrrrrvvvvvv"),
    "one-subject": lambda root: write_table(root, 1, 6),
    "one-film": lambda root: write_table(root, 1, 1),
    "one-test-subject": split_into("rrrrvvt", films_each=4),
    "one-test-film": split_into("rrrrrrvvvt"),
    "one-class": lambda root: write_table(root, 12, 1, lambda text: text.replace("No Finding", "Effusion")),
    "not-packed": lambda root: [*write_table(root, 6, 1), "--no-pack"],
    "no-film-packed": break_films,
}

IN_CI = ("no-finding", "one-film", "one-test-subject")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a good cohort and a run on it."""
    workspace = make_workspace(tmp_path_factory.mktemp("odd"), num_patients=24)
    train = (
        "pretrain",
        "--recipe",
        "demo",
        "--device",
        "cpu",
        "--name",
        "good",
        *TRAIN,
        "--set",
        "train.batch_size=16",
    )
    assert run(*train, workspace=workspace.root).returncode == 0
    return workspace.root


def find_fault(done: Result, is_json: bool) -> str:
    """Return what is wrong with the way a command ended; "" after a number that is one, or one sentence."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("cxrssl: error:")]
    if done.returncode not in KNOWN_CODES:
        return f"ends with {done.returncode}"
    if "a bug" in done.stderr or "Traceback" in done.stdout + done.stderr:
        return "has a traceback"
    if errors and (len(errors) > 1 or done.stdout or not done.returncode):
        return "says more than one sentence"
    if not errors and (done.returncode not in (0, DataError.exit_code) or not done.stdout.strip()):
        return "says nothing"
    if NOT_A_NUMBER.search(done.stdout + done.stderr):
        return "shows what is no number"
    try:
        if done.stdout and is_json:
            json.loads(done.stdout, parse_constant=int)
    except ValueError as error:
        return f"is no JSON: {error}"
    return ""


@pytest.mark.parametrize("name", ODD if scaled(0, 1) else IN_CI)
def test_every_command_on_an_odd_cohort_gives_a_number_that_is_one_or_a_sentence(
    template: Path, tmp_path: Path, name: str
) -> None:
    root = Workspace(shutil.copytree(template, tmp_path / "workspace")).root
    dataset, path, *options = ODD[name](tmp_path / name)
    (good,) = (root / "runs").iterdir()
    own = ("--cohort", "odd", "--name", "own", "--recipe", "demo", "--device", "cpu", "--ehr", "demo,meta", *TRAIN)
    split = ("--split", "file") if "--split-file" in options else ()
    both_ways: list[tuple[str, ...]] = [
        ("ingest", dataset, path, "--cohort", "odd", "--size", "48", "--workers", "1", *options),
        ("cohort", "list"),
        ("cohort", "show", "odd"),
        ("cohort", "audit", "odd"),
        ("cohort", "flow", "odd", "--small-cells", "show"),
        ("pretrain", *own, "--plan"),
        ("pretrain", *own),
        ("probe", good.name, "--cohort", "odd", *split, *ON_CPU),
        ("probe", "odd-own", *ON_CPU),
        ("report", "--small-cells", "show"),
        ("sql", "--results", "SELECT * FROM eval_result"),
    ]
    once: list[tuple[str, ...]] = [
        ("check", path),
        ("report",),
        ("cohort", "audit"),
        ("cohort", "flow", "odd"),
        ("dashboard", "--once"),
        ("dashboard", "--json"),
        ("recipe", "show", "odd-own"),
        ("recipe", "diff", good.name, "odd-own"),
        ("sql", "--cohort", "odd", "SELECT count(*) AS n, avg(age_y) AS age FROM film"),
        ("sql", "--cohort", "odd", "--tables"),
        *(("cohort", "export", "odd", "--to", to) for to in FORMATS),
    ]
    commands = [*((*words, *more) for words in both_ways for more in ((), ("--json",))), *once]
    ended = {words: run(*words, workspace=root) for words in commands}
    ended["doctor",] = run("doctor", path)
    faults = {
        " ".join(words): f"{fault}: {done}"
        for words, done in ended.items()
        if (fault := find_fault(done, "--json" in words))
    }
    assert not faults, "\n".join(f"{words} {fault}" for words, fault in faults.items())
    assert_marked(ended["probe", good.name, "--cohort", "odd", *split, *ON_CPU].stdout)


def assert_marked(shown: str) -> None:
    """No score of so few people stands without its mark; the strength of a probe needs none."""
    scores = re.findall(r"\d\.\d{3}(?!\d)(?: \[[^]]*\])?(\*| no interval)?", shown)
    assert all(scores), shown
