"""What an encoder was shown: in its own run, cohort by cohort, and in those that it descends from.

In: a published encoder's manifest and its lists of films. Out: Pretraining. Numpy and stdlib only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.pool import PooledCohort
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.encoder import Ancestor, EhrInput, EncoderOrigin, SeenFilms, open_record, read_films
from cxrssl.records.members import Member
from cxrssl.records.run import RunFiles

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What an encoder was shown."""

    run_id: str
    dataset: str
    cohort: str
    scheme: str
    """The split whose train films it was shown."""
    cohort_sha256: str
    ehr: EhrInput
    films: SeenFilms
    images: ImageStore | None = None
    """The packed films of its cohort, where they are in the workspace; row for row those of its cohort."""
    may_know_labels: bool = False
    """Whether it saw the labels of these films too, or may have."""
    before: tuple[Pretraining, ...] = ()
    """What the encoders were shown that it descends from, nearest first."""
    unlisted: tuple[str, ...] = ()
    """Names of those whose films are unknown."""
    members: tuple[Pretraining, ...] = ()
    """The same for the films of each cohort, where they are of several; ids are those of its dataset."""

    @property
    def cohorts(self) -> tuple[Pretraining, ...]:
        """What it was shown of each cohort, one or several."""
        return self.members or (self,)

    def scheme_on(self, cohort: Cohort) -> str:
        """Return the split that it had of a cohort, or of another one of its dataset; "" for other datasets."""
        same = [each for each in self.cohorts if each.dataset == cohort.dataset]
        return next((each.scheme for each in sorted(same, key=lambda each: each.cohort != cohort.name)), "")

    @property
    def features(self) -> tuple[str, ...]:
        return self.ehr.taught


def list_films(cohort: Cohort, images: ImageStore | None, rows: Rows) -> SeenFilms:
    """Return these rows of a cohort as a list of films; without packed films their hashes are empty."""
    pixels = images.index.pixel_hash[rows] if images is not None else np.full(len(rows), b"")
    if not isinstance(cohort, PooledCohort):
        return SeenFilms(cohort.image_id[rows], cohort.subject_id[rows], pixels)
    sizes = [len(each) for each in cohort.members]
    places = np.cumsum([0, *sizes])[cohort.member_N[rows]] + cohort.row_N[rows]
    own = (np.concatenate([getattr(each, name) for each in cohort.members]) for name in ("image_id", "subject_id"))
    names = np.array([each.name for each in cohort.members], np.str_)
    image_id, subject_id = (each[places] for each in own)
    return SeenFilms(image_id, subject_id, pixels, names[cohort.member_N[rows]])


def read_pretraining(
    workspace: Workspace, run_id: str, opened: Mapping[str, ImageStore | None] | None = None
) -> Pretraining:
    """Return what a finished run was shown; `opened` are packed films by cohort that need not be opened again.

    Raises: IntegrityError when its encoder is damaged or the list of films cannot be read.
    """
    record = open_record(RunFiles(workspace.runs / run_id).encoder)
    known = dict(opened or {})
    cohort = record.origin.cohort

    def find_images(name: str) -> ImageStore | None:
        if known.get(name) is None:
            known[name] = _open_packed(workspace, name)
        return known[name]

    lists = {each.films: read_films(record.folder / each.films) for each in record.ancestors if each.films}
    seen = Pretraining(
        run_id=run_id,
        dataset=record.origin.dataset,
        cohort=cohort,
        scheme=record.origin.split,
        cohort_sha256=record.origin.cohort_sha256,
        ehr=record.ehr,
        films=record.films(),
        may_know_labels=record.learnt_labels,
        before=trace_ancestors(record.ancestors, lists, find_images),
        unlisted=record.unlisted,
    )
    return _with_images(seen, record.origin, find_images)


def _with_images(
    seen: Pretraining, origin: EncoderOrigin, find_images: Callable[[str], ImageStore | None]
) -> Pretraining:
    """Return what was seen with the packed films of its cohort, or in parts for each of several cohorts."""
    if not origin.members:
        return replace(seen, images=find_images(origin.cohort))
    return part_by_cohort(seen, origin.members, find_images)


def part_by_cohort(
    seen: Pretraining, members: Sequence[Member] | None, find_images: Callable[[str], ImageStore | None]
) -> Pretraining:
    """Return what was seen with a part for each of several cohorts; as it is for one.

    Raises: IntegrityError when the list of films does not say of which of the cohorts each is.
    """
    if not members:
        return seen
    if seen.films.cohort is None or not {*seen.films.cohort.tolist()} <= {each.cohort for each in members}:
        raise IntegrityError(f"the films of {plain(seen.run_id, 120)} are not listed by cohort", hint="pretrain again")
    parts = [
        replace(
            seen,
            dataset=each.dataset,
            cohort=each.cohort,
            scheme=each.split,
            cohort_sha256=each.cohort_sha256,
            films=seen.films.of_cohort(each.cohort),
            images=find_images(each.cohort),
            before=(),
        )
        for each in members
    ]
    return replace(seen, images=None, members=tuple(parts))


def trace_ancestors(
    ancestors: Sequence[Ancestor], lists: Mapping[str, SeenFilms], find_images: Callable[[str], ImageStore | None]
) -> tuple[Pretraining, ...]:
    """Return what the ancestors of an encoder were shown, those left out whose films are unknown.

    `lists` are their films, by the file that each names; `find_images` returns the packed films of a cohort.
    """
    seen = [
        Pretraining(
            run_id=each.name,
            dataset=each.origin.dataset,
            cohort=each.origin.cohort,
            scheme=each.origin.split,
            cohort_sha256=each.origin.cohort_sha256,
            ehr=each.ehr,
            films=lists[each.films],
            may_know_labels=each.learnt_labels,
        )
        for each in ancestors
        if each.films
    ]
    origins = [each.origin for each in ancestors if each.films]
    return tuple(_with_images(each, origin, find_images) for each, origin in zip(seen, origins, strict=True))


def _open_packed(workspace: Workspace, cohort: str) -> ImageStore | None:
    """Return the packed films of a cohort, None where they are not in the workspace."""
    try:
        return open_images(workspace.images / cohort, verify=False)
    except IntegrityError:
        return None
