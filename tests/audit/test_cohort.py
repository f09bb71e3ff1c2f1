"""Leaks planted one by one into the clean hospital: each is named by exactly its code, and the clean one has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cxrssl.audit.checks import CHECKS, Audit, make_audit, refuse
from cxrssl.audit.database import audit_database
from cxrssl.audit.greys import audit_greys
from cxrssl.audit.ids import audit_ids
from cxrssl.audit.looks import audit_looks, find_twins
from cxrssl.audit.values import audit_values
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import LeakageError
from cxrssl.core.filmnote import Note
from cxrssl.core.workspace import Workspace
from cxrssl.images.fingerprint import hash_pixels, perceptual_hash
from cxrssl.images.store import ImageStore
from tests.audit.conftest import republish_cohort

Hospital = tuple[Cohort, ImageStore]
Planted = tuple[Cohort, ImageStore | None]
"""What is left of the clean hospital; without films where they no longer belong to it."""


def audit(cohort: Cohort, images: ImageStore | None) -> Audit:
    results = [
        *audit_ids(cohort),
        *audit_looks(cohort, images),
        *audit_greys(images),
        *audit_values(cohort, images, cohort.finding_names.tolist()),
    ]
    return make_audit("cohort", results)


def change(cohort: Cohort, **arrays: Any) -> Cohort:
    return dataclasses.replace(cohort, **arrays)


def put(array: np.ndarray, row: int, value: Any) -> np.ndarray:
    """Return the array with another value in one row, as wide as it takes."""
    values = array.tolist()
    values[row] = value
    return np.array(values)


def row_in(cohort: Cohort, split: str, num: int = 0, scheme: str = "official") -> int:
    """Return a row of the num-th subject of a split, with more than one film where `num` counts those only."""
    rows = cohort.rows_of(split, scheme)
    subjects = list(dict.fromkeys(cohort.subject_id[rows].tolist()))
    return int(rows[cohort.subject_id[rows] == subjects[num]][0])


def two_films(cohort: Cohort, split: str, num: int = 0) -> tuple[int, int]:
    """Return two rows of the num-th subject of a split (of both schemes) that has several studies."""
    rows = cohort.rows_of(split)
    rows = rows[cohort.split_hash[rows] == split]
    seen = [np.flatnonzero(cohort.subject_id == subject) for subject in dict.fromkeys(cohort.subject_id[rows].tolist())]
    seen = [own for own in seen if len(np.unique(cohort.study_id[own])) > 1]
    own = seen[num]
    return int(own[0]), int(own[cohort.study_id[own] != cohort.study_id[own[0]]][0])


# ---- ids and splits


def subject_unknown(cohort: Cohort, images: ImageStore | None) -> Planted:
    subject = cohort.subject_id[row_in(cohort, "train")]
    return change(cohort, subject_id=np.where(cohort.subject_id == subject, "", cohort.subject_id)), images


def image_twice(cohort: Cohort, images: ImageStore | None) -> Planted:
    a, b = two_films(cohort, "train")
    return change(cohort, image_id=put(cohort.image_id, b, cohort.image_id[a])), None


def image_under_two_subjects(cohort: Cohort, images: ImageStore | None) -> Planted:
    a, b = row_in(cohort, "train"), row_in(cohort, "train", 1)
    return change(cohort, image_id=put(cohort.image_id, b, cohort.image_id[a])), None


def file_twice(cohort: Cohort, images: ImageStore | None) -> Planted:
    a, b = row_in(cohort, "train"), row_in(cohort, "test")
    return change(cohort, path=put(cohort.path, b, cohort.path[a])), images


def study_under_two_subjects(cohort: Cohort, images: ImageStore | None) -> Planted:
    a, b = row_in(cohort, "train"), row_in(cohort, "test")
    return change(cohort, study_id=put(cohort.study_id, b, cohort.study_id[a])), images


def subject_in_two_splits(cohort: Cohort, images: ImageStore | None) -> Planted:
    """One film of a train subject and one of a test subject change sides: the counts stay."""
    a, _ = two_films(cohort, "train")
    b = row_in(cohort, "test", next(k for k in range(50) if _num_films(cohort, row_in(cohort, "test", k)) > 1))
    split = put(put(cohort.split_official, a, "test"), b, "train")
    return change(cohort, split_official=split), images


def film_without_split(cohort: Cohort, images: ImageStore | None) -> Planted:
    """The subject was in no list, and the summary says so too."""
    subject = cohort.subject_id[row_in(cohort, "train")]
    split = np.where(cohort.subject_id == subject, "", cohort.split_official)
    recorded = {name: {"films": int((split == name).sum())} for name in ("train", "val", "test")}
    summary = cohort.summary | {"splits": cohort.summary["splits"] | {"official": recorded}}
    return change(cohort, split_official=split, summary=summary), images


def split_changed(cohort: Cohort, images: ImageStore | None) -> Planted:
    """A subject is moved whole from test to train after the split was made."""
    subject = cohort.subject_id[row_in(cohort, "test")]
    return change(cohort, split_official=np.where(cohort.subject_id == subject, "train", cohort.split_official)), images


# ---- pixels


def with_copy(images: ImageStore, row: int, source: int, noise: int = 0) -> ImageStore:
    """Return the pack in which `row` shows the film of the row `source`, each grey level changed by up to `noise`."""
    films, box = images.read_all(), images.box_N4.copy()
    steps = np.random.default_rng(0).integers(-noise, noise + 1, films[source].shape)
    films[row] = np.clip(films[source].astype(int) + steps, 0, 255)
    box[row] = box[source]
    changed = images.index._replace(
        box_N4=box,
        shard=np.zeros(len(films), np.int32),
        row=np.arange(len(films), dtype=np.int32),
        phash=perceptual_hash(films, box),
        pixel_hash=np.array([hash_pixels(film) for film in films], images.index.pixel_hash.dtype),
    )
    sha = f"{images.content_sha256} {row} {source} {noise}"
    shards: Any = {0: films}
    return dataclasses.replace(images, index=changed, content_sha256=sha, _shards=shards)


def sides(cohort: Cohort, first: str, second: str) -> tuple[int, int]:
    """Return a row of each split, of two subjects; those of one split are of one split in the other scheme too."""
    a, rows = cohort.rows_of(first)[0], cohort.rows_of(second)
    is_other = cohort.subject_id[rows] != cohort.subject_id[a]
    is_same_hash = cohort.split_hash[rows] == cohort.split_hash[a]
    return int(a), int(rows[is_other & (is_same_hash | (first != second))][0])


def identical_films_in_two_splits(cohort: Cohort, images: ImageStore) -> Planted:
    a, b = sides(cohort, "train", "test")
    return cohort, with_copy(images, a, b)


def near_films_in_two_splits(cohort: Cohort, images: ImageStore) -> Planted:
    """The test film again, as another compression would leave it."""
    a, b = sides(cohort, "train", "test")
    return cohort, with_copy(images, a, b, noise=2)


def identical_films_under_two_subjects(cohort: Cohort, images: ImageStore) -> Planted:
    a, b = sides(cohort, "train", "train")
    return cohort, with_copy(images, a, b)


def films_of_another_cohort(cohort: Cohort, images: ImageStore) -> Planted:
    order = np.arange(len(cohort))[::-1]
    arrays: dict[str, Any] = {name: array[order] for name, array in images.index._asdict().items()}
    return cohort, dataclasses.replace(images, index=images.index._replace(**arrays))


# ---- values


def link_outside_stay(cohort: Cohort, images: ImageStore | None) -> Planted:
    (row, *_) = np.flatnonzero(cohort.link_status == "in_stay")
    return change(cohort, gap_h=put(cohort.gap_h, int(row), 30.0).astype(np.float32)), images


def unknown_counted_as_no(cohort: Cohort, images: ImageStore | None) -> Planted:
    """What the published code does: outside every stay counts as alive."""
    column = FEATURE_NAMES.index("mortality")
    values, known = cohort.ehr_values.copy(), cohort.ehr_known.copy()
    unknown = ~known[:, column]
    values[unknown, column], known[unknown, column] = 0.0, True
    return change(cohort, ehr_values=values, ehr_known=known), images


def feature_reveals_target(cohort: Cohort, images: ImageStore | None) -> Planted:
    """The position is recorded only where Edema is present."""
    column = FEATURE_NAMES.index("position")
    is_present = cohort.labels(["Edema"])[:, 0] == 1
    values, known = cohort.ehr_values.copy(), cohort.ehr_known.copy()
    known[:, column] = is_present
    values[:, column] = np.where(is_present, 0.0, np.nan)
    return change(cohort, ehr_values=values, ehr_known=known), images


def film_shape_reveals_target(cohort: Cohort, images: ImageStore) -> Planted:
    """Films with Edema come from another archive, which scans larger."""
    is_present = cohort.labels(["Edema"])[:, 0] == 1
    source = images.source_px_N2 * np.where(is_present, 3, 1)[:, None]
    return cohort, dataclasses.replace(images, index=images.index._replace(source_px_N2=source.astype(np.int32)))


def films_look_odd(cohort: Cohort, images: ImageStore) -> Planted:
    return cohort, with_notes(images, {3: Note.FEW_GREYS | Note.BLACK, 7: Note.BAND})


def headers_contradict(cohort: Cohort, images: ImageStore) -> Planted:
    return cohort, with_notes(images, {2: Note.POLARITY | Note.NO_PREAMBLE})


def with_notes(images: ImageStore, notes: dict[int, Note]) -> ImageStore:
    note = images.index.note.copy()
    for row, each in notes.items():
        note[row] = int(each)
    return dataclasses.replace(images, index=images.index._replace(note=note))


PLANTS = [
    films_look_odd,
    headers_contradict,
    subject_unknown,
    image_twice,
    image_under_two_subjects,
    file_twice,
    study_under_two_subjects,
    subject_in_two_splits,
    film_without_split,
    split_changed,
    identical_films_in_two_splits,
    near_films_in_two_splits,
    identical_films_under_two_subjects,
    films_of_another_cohort,
    link_outside_stay,
    unknown_counted_as_no,
    feature_reveals_target,
    film_shape_reveals_target,
]


def _num_films(cohort: Cohort, row: int) -> int:
    return int((cohort.subject_id == cohort.subject_id[row]).sum())


def test_the_clean_hospital_has_no_finding_and_leaves_nothing_uncompared(hospital: Hospital) -> None:
    done = audit(*hospital)
    assert not done.findings
    assert {result.severity for result in done.results} == {"ok"}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_named_by_its_code_and_nothing_else_is(
    hospital: Hospital, plant: Callable[..., Planted]
) -> None:
    done = audit(*plant(*hospital))
    code = plant.__name__.replace("_", "-")
    assert done.codes == {code}
    (finding,) = done.findings
    assert finding.severity == CHECKS[code].severity
    assert finding.hint
    assert any(char.isdigit() for char in finding.finding) or code == "films-of-another-cohort"


def test_notes_are_counted_by_their_words(hospital: Hospital) -> None:
    (finding,) = audit(*films_look_odd(*hospital)).findings
    assert finding.finding == "2 films: few grey levels 1, nearly all black 1, a band of zeros 1"
    assert finding.examples == (3, 7)


def test_what_refuses_raises_and_what_warns_does_not(hospital: Hospital) -> None:
    with pytest.raises(LeakageError, match="subject-in-two-splits: 2 subjects of 60") as error:
        refuse(audit(*subject_in_two_splits(*hospital)), "cohort mimic")
    assert error.value.exit_code == 3
    refuse(audit(*identical_films_in_two_splits(*hospital)), "cohort mimic")


@pytest.mark.parametrize("plant", [identical_films_in_two_splits, near_films_in_two_splits])
def test_of_twins_the_film_of_the_earlier_split_is_left_out(hospital: Hospital, plant: Callable[..., Planted]) -> None:
    cohort, images = plant(*hospital)
    assert images is not None
    a, b = sides(hospital[0], "train", "test")
    assert find_twins(cohort, images, "official").left_out.tolist() == [a]
    assert cohort.split_official[[a, b]].tolist() == ["train", "test"]


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        ("film-after-death", "UPDATE patient SET dod = DATE '1900-01-01' WHERE subject_id = "
         "(SELECT min(subject_id) FROM image)"),
        ("link-outside-stay", "UPDATE admission SET dischtime = admittime WHERE hadm_id = "
         "(SELECT min(hadm_id) FROM link WHERE link_status = 'in_stay')"),
        ("split-changed", "UPDATE split SET split = 'train' WHERE scheme = 'hash' AND split = 'test'"),
        ("arrays-differ-from-database", "UPDATE label SET value = 1 - value WHERE finding = 'Edema' AND value = 0"),
    ],
)  # fmt: skip
def test_a_leak_planted_into_the_tables_is_named_by_its_code(workspace: Workspace, code: str, sql: str) -> None:
    from cxrssl.cohort.read import open_cohort

    assert not make_audit("", audit_database(open_cohort(workspace.cohorts / "mimic"))).findings
    republish_cohort(workspace, sql=sql)
    kept = open_cohort(workspace.cohorts / "mimic")
    if code == "split-changed":
        republish_cohort(workspace, split_hash=np.where(kept.split_hash == "test", "train", kept.split_hash))
    assert make_audit("", audit_database(open_cohort(workspace.cohorts / "mimic"))).codes == {code}
