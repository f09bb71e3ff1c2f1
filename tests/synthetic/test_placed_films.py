"""Films for the patients of the real MIMIC-IV demo, placed on purpose in and around their stays."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

from cxrssl.synthetic import FilmAnswer, place_of, write_films_for
from cxrssl.synthetic.hospital.tables import read_histories

DEMO = Path(__file__).parents[2].parent / "shared" / "data" / "mimic-iv-clinical-database-demo-2.2"
pytestmark = pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-IV demo is not here")


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FilmAnswer]]:
    root = tmp_path_factory.mktemp("demo") / "mimic-cxr-jpg-2.0.0"
    return root, write_films_for(DEMO, root, seed=1, film_px=48)


def test_every_placement_and_every_border_is_covered(placed: tuple[Path, list[FilmAnswer]]) -> None:
    _, answers = placed
    seen = Counter(answer.placement for answer in answers)
    wanted = {"in_icu", "in_stay", "in_ed", "between_stays", "post_discharge", "pre_admission", "on_border"}
    assert wanted <= set(seen)
    assert min(seen[name] for name in wanted) >= 15
    borders = {answer.border for answer in answers}
    assert borders == {"", "admittime", "dischtime", "intime", "outtime", "edregtime"}
    assert len({answer.subject_id for answer in answers}) == 100


def test_placed_films_lie_where_their_answer_says(placed: tuple[Path, list[FilmAnswer]]) -> None:
    histories = {h.patient.subject_id: h for h in read_histories(DEMO)}
    for answer in placed[1]:
        history = histories[answer.subject_id]
        if answer.placement == "on_border":
            owners = (*history.admissions, *history.icu_stays)
            assert answer.taken_at in [getattr(owner, answer.border, None) for owner in owners]
        else:
            assert place_of(history, answer.taken_at) == (answer.placement, answer.hadm_id, answer.stay_id)


def test_the_archive_of_placed_films_holds_each_answer(placed: tuple[Path, list[FilmAnswer]]) -> None:
    root, answers = placed
    with gzip.open(root / "mimic-cxr-2.0.0-metadata.csv.gz", "rt", newline="") as lines:
        assert [row["dicom_id"] for row in csv.DictReader(lines)] == [answer.dicom_id for answer in answers]
    assert len(list(root.rglob("*.jpg"))) == len(answers)


def test_the_existing_tables_are_only_read(tmp_path: Path) -> None:
    ehr_root = tmp_path / "ehr"
    for name in ("hosp/patients", "hosp/admissions", "icu/icustays"):
        path = ehr_root / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = gzip.decompress((DEMO / f"{name}.csv.gz").read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(lines[:4] if "patients" in name else lines)))
    before = {p: p.stat().st_mtime_ns for p in ehr_root.rglob("*")}
    assert len({answer.subject_id for answer in write_films_for(ehr_root, tmp_path / "cxr", film_px=24)}) == 3
    assert {p: p.stat().st_mtime_ns for p in ehr_root.rglob("*")} == before
