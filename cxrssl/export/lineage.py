"""Where an encoder comes from, as far as an export may say it.

In: a workspace and a published encoder. Out: Lineage; the hashes of the training films' pixels.
Never: the id of a film or of a person.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from cxrssl.cohort.features import is_outcome_used
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from cxrssl.export.bundle import find_pack_px
from cxrssl.export.terms import SYNTHETIC, Terms, find_terms
from cxrssl.records.encoder import Ancestor, EncoderName, EncoderOrigin, EncoderRecord, SeenFilms, read_films
from cxrssl.records.eval_settings import HEAD
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.members import Member

HOSPITAL = "synthetic hospital"
"""Kind of the folder that `cxrssl demo` draws."""
COLUMN = "pixel_hash"


@dataclass(frozen=True)
class Lineage:
    """What shaped an encoder, and what is known of it."""

    record: EncoderRecord
    which: EncoderName
    num_films: int
    num_subjects: int
    films_csv: bytes
    """One pixel hash a training film, also of what it descends from, sorted; see `list_hashes`."""
    terms: tuple[Terms, ...]
    """Of each dataset, the strictest first."""
    pack_px: int
    roots: tuple[Path, ...]
    """Of its datasets; those whose cohorts are gone are left out."""
    evaluations: tuple[Evaluation, ...]
    """Of this very encoder, by cohort and split."""

    @property
    def taught_outcome(self) -> bool:
        """Whether an outcome of the stay was a pretraining input or target, in its own run or before."""
        return is_outcome_used(self.record.taught)

    @property
    def learnt_labels(self) -> bool:
        """Whether labels of films shaped it, in its own run or before."""
        return self.record.learnt_labels or any(each.learnt_labels for each in self.record.ancestors)


def trace_lineage(workspace: Workspace, record: EncoderRecord, which: EncoderName) -> Lineage:
    """Return the lineage of a run's encoder. Raises: IntegrityError when its list of films is damaged."""
    origin, films = record.origin, record.films()
    cohorts = [_find_cohort(workspace, each) for each in origin.cohorts]
    before = [name for each in record.ancestors for name in _name_films(workspace, each)]
    own = [
        each
        for each in list_evaluations(workspace)[0]
        if each.settings.kind != HEAD
        and each.settings.run_id == origin.run_id
        and (each.settings.candidate.encoder or "target") == which
    ]
    return Lineage(
        record=record,
        which=which,
        num_films=len(films.image_id),
        num_subjects=_count_subjects(origin, films),
        films_csv=list_hashes(_find_hashes(record, films)),
        terms=tuple(find_terms([*_name_datasets(workspace, origin), *before])),
        pack_px=find_pack_px(workspace.images, origin),
        roots=tuple(each.root for each in cohorts if each is not None),
        evaluations=tuple(sorted(own, key=lambda each: (each.settings.cohort, each.settings.split))),
    )


def _count_subjects(origin: EncoderOrigin, films: SeenFilms) -> int:
    """Return how many ids of persons the films have, those of each dataset by themselves."""
    parts = [(each.dataset, films.of_cohort(each.cohort).subject_id.tolist()) for each in origin.cohorts]
    return len({(dataset, subject) for dataset, subjects in parts for subject in subjects})


def find_dataset(cohort: Cohort) -> str:
    """Return whose terms hold for a cohort: its dataset's, or those of drawn films."""
    return SYNTHETIC if _is_drawn(cohort.root) else cohort.dataset


def list_hashes(hashes: list[str]) -> bytes:
    """Return the hashes as CSV, sorted, so that their order tells nothing; films without one are left out.

    A hash is of a film's packed pixels: anyone who has the film can compute it, and nobody can guess it from an id.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[COLUMN], *([each] for each in sorted(hashes) if each)])
    return text.getvalue().encode()


def _find_hashes(record: EncoderRecord, films: SeenFilms) -> list[str]:
    """Return the hashes of the films of a run, with those of what it descends from."""
    own: list[bytes] = films.pixel_hash.tolist()
    lists = (read_films(record.folder / each.films) for each in record.ancestors if each.films)
    before = {value for each in lists for value in each.pixel_hash.tolist()}
    return [value.decode("ascii") for value in (*own, *(before - set(own)))]


def _name_films(workspace: Workspace, ancestor: Ancestor) -> list[str]:
    return _name_datasets(workspace, ancestor.origin) if ancestor.films else [ancestor.dataset]


def _name_datasets(workspace: Workspace, origin: EncoderOrigin) -> list[str]:
    """Return whose terms hold for the films of an origin, cohort by cohort."""
    found = [(each, _find_cohort(workspace, each)) for each in origin.cohorts]
    return [find_dataset(cohort) if cohort is not None else each.dataset for each, cohort in found]


def _find_cohort(workspace: Workspace, member: Member) -> Cohort | None:
    """Return a cohort that an encoder was trained on, None where it is gone or another one has its name."""
    try:
        cohort = open_cohort(workspace.find_cohort(member.cohort), verify=False)
    except CxrsslError:
        return None
    return cohort if cohort.content_sha256 == member.cohort_sha256 else None


def _is_drawn(root: Path) -> bool:
    """Return whether a dataset is the whole folder of a drawn hospital."""
    try:
        open_artefact(root, HOSPITAL, verify=False)
    except CxrsslError:
        return False
    return True
