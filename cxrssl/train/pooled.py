"""The films of a run: those of one cohort, or of several as one, and what is to be said of several.

In: a workspace, names of cohorts. Out: a cohort and its packed films, row for row; facts and sentences.
Never: films of two sizes, an id of a patient; a condition in SQL is asked by what the caller hands over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.persons import join_persons
from cxrssl.cohort.again import name_ingest
from cxrssl.cohort.pool import COMMA, MIXED, PooledCohort, find_unknown, order_films, pool_cohorts
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.pool import PooledImages, pool_images
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.members import Member
from cxrssl.records.packing import explain_unlike_packs, read_pack, read_pipeline

Rows = NDArray[np.int64]
FindFilms = Callable[[Cohort, str], NDArray[np.bool_]]
"""Which films of a cohort meet a condition: `cohort.where.find_films`, which needs DuckDB."""


def open_data(workspace: Workspace, names: str) -> tuple[Cohort, ImageStore]:
    """Return the films of a run: of a cohort, or of several whose names are joined by commas, in any order.

    Raises: UsageError for a name that is not there or there twice, DataError when films are not packed, or in sizes
    that differ.
    """
    wanted = [name.strip() for name in names.split(COMMA)]
    if len(wanted) == 1:
        return open_films(workspace, names)
    for name in wanted:
        if not name:
            raise UsageError(f'"{plain(names, 120)}" has an empty name of a cohort between its commas')
        if wanted.count(name) > 1:
            raise UsageError(f'cohort "{plain(name, 80)}" is named twice', hint="each is trained on once")
    return pool_films(workspace, [open_films(workspace, name) for name in sorted(wanted)])


def open_films(workspace: Workspace, cohort_name: str) -> tuple[Cohort, ImageStore]:
    """Return a published cohort and its packed films, row for row.

    Raises: DataError when the films are not packed, or were packed for another state of the cohort.
    """
    cohort = open_cohort(workspace.find_cohort(cohort_name))
    path = workspace.images / cohort.name
    hint = f"pack them: {name_ingest(cohort.source, cohort.name)}"
    if not path.is_dir():
        raise DataError(f"the films of cohort {cohort.name} are not packed", path, hint)
    images = open_images(path)
    if images.cohort_sha256 != cohort.content_sha256:
        raise DataError(f"the packed films of cohort {cohort.name} are of an older cohort", path, hint)
    return cohort, images


def pool_films(
    workspace: Workspace, films: Sequence[tuple[Cohort, ImageStore]], may_keep: bool = True
) -> tuple[PooledCohort, PooledImages]:
    """Return cohorts, sorted by name, and their packed films as one.

    Which films of two cohorts look the same is kept in the workspace if `may_keep`.

    Raises: DataError for films of different sizes.
    """
    cohorts, images = [each for each, _ in films], [each for _, each in films]
    for (a, of_a), (b, of_b) in pairwise(films):
        if of_a.size_px != of_b.size_px:
            sizes = f"at {of_a.size_px} px and those of cohort {b.name} at {of_b.size_px} px"
            what = f"the films of cohort {a.name} are packed {sizes}, and a run has films of one size"
            raise DataError(
                what, of_b.path, f"pack one of them again: {name_ingest(b.source, b.name, ['--size', 'N'])}"
            )
    packed_as = [f"{read_pack(each.path)} {read_pipeline(each.path)}" for each in images]
    order = order_films(cohorts, [each.index.pixel_hash for each in images], packed_as)
    pooled = pool_cohorts(cohorts, order, *join_persons(cohorts, images, workspace.pairs, may_keep))
    return pooled, pool_images(images, order.place_N)


def members_of(cohort: Cohort) -> tuple[Cohort, ...]:
    """Return the cohorts that a run is on, one or several."""
    return cohort.members if isinstance(cohort, PooledCohort) else (cohort,)


def packs_of(images: ImageStore) -> tuple[ImageStore, ...]:
    """Return the packs of these cohorts, one or several."""
    return images.members if isinstance(images, PooledImages) else (images,)


def find_row(trained_on: Cohort, name: str, row: int) -> int:
    """Return the row of a film of a cohort among the films of a run. Raises: DataError where another one has it."""
    if not isinstance(trained_on, PooledCohort):
        return row
    names = [each.name for each in trained_on.members]
    number = names.index(name) if name in names else -1
    (found,) = np.nonzero((trained_on.member_N == number) & (trained_on.row_N == row))
    if not len(found):
        raise DataError(f"the run has this film from another cohort than {name}", hint="look at it there")
    return int(found[0])


def find_split(trained_on: Cohort, scheme: str, cohort: Cohort) -> str:
    """Return the split that a run has of a cohort, or of another one of its dataset; "" for other datasets."""
    members = members_of(trained_on)
    own = [scheme if len(members) == 1 or scheme != MIXED else each.default_split for each in members]
    same = [(each.name != cohort.name, number) for number, each in enumerate(members) if each.dataset == cohort.dataset]
    return own[min(same)[1]] if same else ""


def find_where(cohort: Cohort, condition: str, find_films: FindFilms | None) -> NDArray[np.bool_]:
    """Return whether each film of a run's data meets a condition in SQL; each cohort is asked itself.

    Raises: UsageError when it is no condition on the films of one of them.
    """
    assert find_films is not None, "a condition comes with what can ask it"
    if not isinstance(cohort, PooledCohort):
        return find_films(cohort, condition)
    met_N = np.zeros(len(cohort), np.bool_)
    for number, each in enumerate(cohort.members):
        here = cohort.member_N == number
        try:
            met_N[here] = find_films(each, condition)[cohort.row_N[here]]
        except UsageError as error:
            error.what = f"cohort {each.name}: {error.what}"
            raise
    return met_N


def list_members(cohort: Cohort, images: ImageStore, scheme: str, rows: Rows) -> tuple[Member, ...] | None:
    """Return what run.json says of each of several cohorts, None of one; `rows` are those that are trained on."""
    if not isinstance(cohort, PooledCohort) or not isinstance(images, PooledImages):
        return None
    is_left_out = cohort.left_out_N[scheme] & images.is_packed_N & (_own_split(cohort, scheme) == "train")
    is_left_out[rows] = False  # `train.rows = "all"` leaves nothing out
    return tuple(
        Member(
            cohort=each.name,
            dataset=each.dataset,
            split=cohort.own_split_of(number, scheme),
            cohort_sha256=each.content_sha256,
            images_sha256=packed.content_sha256,
            link=each.link,
            num_films=int((cohort.member_N[rows] == number).sum()),
            num_left_out=int(is_left_out[cohort.member_N == number].sum()),
        )
        for number, (each, packed) in enumerate(zip(cohort.members, images.members, strict=True))
    )


def _own_split(cohort: PooledCohort, scheme: str) -> NDArray[np.str_]:
    """Return the split that each film has in its own cohort."""
    split_N = np.full(len(cohort), "", "<U5")
    for number, each in enumerate(cohort.members):
        here = cohort.member_N == number
        split_N[here] = each.split_of(cohort.own_split_of(number, scheme))[cohort.row_N[here]]
    return split_N


def check_pool(cohort: Cohort, rows: Rows, mix: str, features: Sequence[str], missing: str) -> None:
    """Raise UsageError for settings that several cohorts do not allow, or that one does not.

    `features` are those that are given to the model: a policy that writes a value for an unknown one would write it
    for a whole cohort that lacks the feature, and so name the cohort.
    """
    if not isinstance(cohort, PooledCohort):
        if mix != "proportional":
            what = f'"data.mix" has no effect: the run is on cohort {cohort.name} alone'
            raise UsageError(what, hint="name several: --cohort mimic,nih")
        return
    for number, each in enumerate(cohort.members):
        here = rows[cohort.member_N[rows] == number]
        if not len(here):
            what = f"no film of cohort {each.name} is left to be trained on"
            raise UsageError(what, each.folder, "leave it out of --cohort, or choose another split or --where")
        unknown = [] if missing == "mask" else find_unknown(each, cohort.row_N[here], features)
        if unknown:
            what = f'nothing is known of "{unknown[0].name}" in cohort {each.name}'
            what = f'{what}, and ehr.missing = "{missing}" would give each of its films a value'
            raise UsageError(what, each.folder, "choose --set ehr.missing=mask: unknown is then no value")


def describe_pool(
    cohort: Cohort, images: ImageStore, scheme: str, rows: Rows, features: Sequence[str]
) -> Iterator[str]:
    """Yield what is to be known of a run on several cohorts before it begins, in sentences."""
    members = list_members(cohort, images, scheme, rows)
    if members is None or not isinstance(cohort, PooledCohort) or not isinstance(images, PooledImages):
        return
    yield "train films: " + ", ".join(f"{each.num_films:,} of cohort {each.cohort}" for each in members)
    if cohort.num_shared_persons:
        kept = "each is kept in the latest split that one of the cohorts has it in"
        num = sum(each.num_left_out for each in members)
        left_out = f": {count_noun(num, 'train film')} left out" if num else ", which takes no train film away"
        what = f"{count_noun(cohort.num_shared_persons, 'patient')} with films in several of the cohorts"
        yield f"{what}, by id or by the same film; {kept}{left_out}"
    if cohort.num_repeated:
        yield f"{count_noun(cohort.num_repeated, 'film')} that several of the cohorts hold: each is taken once"
    if scheme == MIXED:
        own = ", ".join(f"{each.split} of cohort {each.cohort}" for each in members)
        yield f"each cohort is split by its own default: {own}"
    for number, each in enumerate(cohort.members):
        here = cohort.row_N[rows[cohort.member_N[rows] == number]]
        unknown = find_unknown(each, here, features)
        if unknown:
            names = ", ".join(feature.name for feature in unknown)
            yield f"no training film of cohort {each.name} has a known {names}: unknown there, and never zero"
    yield from _describe_packs(cohort, images)


def _describe_packs(cohort: PooledCohort, images: PooledImages) -> Iterator[str]:
    first, wanted, pipeline = (
        cohort.members[0],
        read_pack(images.members[0].path),
        read_pipeline(images.members[0].path),
    )
    paths = cohort.path.tolist()
    for each, packed in zip(cohort.members[1:], images.members[1:], strict=True):
        whose = f"cohort {first.name}"
        unlike = explain_unlike_packs(read_pack(packed.path), wanted, paths, whose)
        if not unlike and read_pipeline(packed.path) != pipeline:
            unlike = f"by another version of the program than those of {whose}"
        if unlike:
            yield f"the films of cohort {each.name} are packed {unlike}"
