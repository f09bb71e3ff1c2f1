"""Several cohorts as one, to be pretrained on: the films of all in one order, every person in one split.

In: open cohorts, which of their films are packed, who is one person. Out: PooledCohort, whose rows are films.
Never: a film twice, a person in two splits, a feature or a finding that a cohort lacks taken for zero or for absent.
Stdlib and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.arrays import Films, Text
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import find_feature, known_names
from cxrssl.cohort.read import ABSENT, SCHEMES, SPLITS, Cohort
from cxrssl.core.durable import hash_settings

COMMA = ","
"""Between the names of cohorts that are pooled; the name of a cohort has none."""
OWN_IDS = ("dicom", "folder")
"""Datasets whose ids are a user's own: two cohorts may give one id to two films or two people."""
MIXED = "default"
"""The split scheme of pooled cohorts whose default schemes differ: each has its own."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PooledCohort(Cohort):
    """Films of several cohorts; ids carry the dataset where there are several."""

    members: tuple[Cohort, ...]
    """By name."""
    member_N: Rows
    """Which of `members` a film is of."""
    row_N: Rows
    """Its row there."""
    split_default: Text
    """Under each cohort's own default scheme; empty where that is one scheme."""
    left_out_N: dict[str, NDArray[np.bool_]]
    """By scheme the films that their own cohort has in an earlier split than another one has the person."""
    num_shared_persons: int
    """Persons with films in several of the cohorts."""
    num_repeated: int
    """Films that several of the cohorts hold, with one id and the same pixels, each taken once."""

    @property
    def schemes(self) -> tuple[str, ...]:
        return (*super().schemes, MIXED) if np.any(self.split_default != "") else super().schemes

    @cached_property
    def content_sha256(self) -> str:
        """A SHA-256 over what the cohorts hold and their default splits; their names do not matter."""
        return hash_settings([[each.dataset, each.content_sha256, each.default_split] for each in self.members])

    def own_split_of(self, member: int, scheme: str) -> str:
        """Return the scheme by which the films of a member are split under a scheme of the pool."""
        return self.members[member].default_split if scheme == MIXED else scheme


@dataclass(frozen=True, eq=False)
class FilmOrder:
    """The films of several cohorts, each once, in the order in which one cohort of them all would have them."""

    member_N: Rows
    row_N: Rows
    place_N: Rows
    """Place among all films of all cohorts, one cohort after the other."""


def order_films(
    members: Sequence[Cohort], pixel_hash: Sequence[NDArray[np.bytes_]], packed_as: Sequence[str]
) -> FilmOrder:
    """Return the films by dataset, subject, study and id; one that two cohorts of a dataset hold is taken once.

    It is one film where the id and the packed pixels are the same, as folders of one's own may both have a film "1". Of
    a published dataset the id alone says so where `packed_as`, how films were packed, differs; a packed one is taken.
    """
    datasets = sorted({each.dataset for each in members})
    sizes = [len(each) for each in members]
    member_M = np.repeat(np.arange(len(members)), sizes)
    row_M = np.concatenate([np.arange(size) for size in sizes]).astype(np.int64)
    dataset_M = np.array([datasets.index(each.dataset) for each in members])[member_M]
    subject_M, study_M, image_M = (
        np.concatenate([getattr(each, name) for each in members]) for name in ("subject_id", "study_id", "image_id")
    )
    hash_M = np.concatenate(pixel_hash)
    order = np.lexsort((member_M, hash_M == b"", image_M, study_M, subject_M, dataset_M))
    ways = {each: {way for way, of in zip(packed_as, members, strict=True) if of.dataset == each} for each in datasets}
    by_id = np.array([each not in OWN_IDS and len(ways[each]) > 1 for each in datasets])
    look_M = np.where(by_id[dataset_M], -1, np.unique(hash_M, return_inverse=True)[1])
    numbers_3M = np.stack([np.unique(image_M, return_inverse=True)[1], look_M, dataset_M])
    _, first = np.unique(numbers_3M[:, order], axis=1, return_index=True)
    kept = order[np.sort(first)]
    return FilmOrder(member_M[kept], row_M[kept], kept)


def pool_cohorts(members: Sequence[Cohort], order: FilmOrder, person_M: Rows, num_shared_persons: int) -> PooledCohort:
    """Return cohorts as one. `person_M` numbers the person of each film of all, one cohort after the other.

    A person's films are all in the latest split that a cohort has the person in: test after val after train.
    """
    names = _pool_features(members)
    values, known = _pool_values(members, order, names)
    finding_names, label_values = _pool_labels(members, order)
    datasets = list(dict.fromkeys(sorted(each.dataset for each in members)))
    texts = {name: _gather([getattr(each, name) for each in members], order) for name in _PER_FILM}
    for name in ("image_id", "study_id", "subject_id") if len(datasets) > 1 else ():
        of_films = np.array([each.dataset for each in members], np.str_)[order.member_N]
        texts[name] = np.char.add(np.char.add(of_films, ":"), texts[name])
    texts["subject_id"] = _name_persons(texts["subject_id"], person_M[order.place_N])
    splits, left_out = {}, {}
    defaults = {each.default_split for each in members}
    for scheme in (*SCHEMES, *((MIXED,) if len(defaults) > 1 else ())):
        splits[scheme] = np.full(len(order.row_N), "", "<U5")
        if scheme == MIXED or all(scheme in each.schemes for each in members):
            own = [each.split_of("" if scheme == MIXED else scheme) for each in members]
            splits[scheme], left_out[scheme] = _keep_persons_together(np.concatenate(own), person_M, order)
    return PooledCohort(
        **texts,
        **{f"split_{scheme}": split for scheme, split in splits.items() if scheme != MIXED},
        feature_names=np.array(names, np.str_),
        ehr_values=values,
        ehr_known=known,
        finding_names=finding_names,
        label_values=label_values,
        ehr_age_h=_pool_ages(members, order, names),
        name=COMMA.join(each.name for each in members),
        dataset=COMMA.join(datasets),
        folder=members[0].folder,
        root=members[0].root,
        default_split=defaults.pop() if len(defaults) == 1 else MIXED,
        link=members[0].link if len({each.link for each in members}) == 1 else "",
        summary={},
        artefact=members[0].artefact,
        members=tuple(members),
        member_N=order.member_N,
        row_N=order.row_N,
        split_default=splits.get(MIXED, np.full(len(order.row_N), "", "<U5")),
        left_out_N=left_out,
        num_shared_persons=num_shared_persons,
        num_repeated=sum(len(each) for each in members) - len(order.row_N),
    )


_OWN = ("feature_names", "finding_names", "ehr_values", "ehr_known", "label_values", "ehr_age_h")
_PER_FILM = tuple(each.name for each in fields(Films) if each.name not in _OWN and not each.name.startswith("split_"))


def _gather(arrays: Sequence[NDArray[Any]], order: FilmOrder) -> NDArray[Any]:
    gathered: NDArray[Any] = np.concatenate(arrays)[order.place_N]
    return gathered


def _name_persons(subject_N: Text, person_N: Rows) -> Text:
    """Return the subject of each film, the first one of a person who has several."""
    _, first, place = np.unique(person_N, return_index=True, return_inverse=True)
    named: Text = subject_N[first][place]
    return named


def _keep_persons_together(split_M: Text, person_M: Rows, order: FilmOrder) -> tuple[Text, NDArray[np.bool_]]:
    """Return the latest split of the person of each film, and the films that this takes out of their own."""
    number_M = np.select([split_M == name for name in SPLITS], range(len(SPLITS)), -1)
    latest = np.full(int(person_M.max(initial=-1)) + 1, -1)
    np.maximum.at(latest, person_M, number_M)
    own_N, latest_N = number_M[order.place_N], latest[person_M[order.place_N]]
    split_N = np.where(own_N < 0, "", np.array([*SPLITS, ""], np.str_)[latest_N])
    return split_N, (own_N >= 0) & (latest_N > own_N)


def _pool_features(members: Sequence[Cohort]) -> list[str]:
    """Return the features of all cohorts, in declared order."""
    return [name for name in known_names() if any(name in each.names for each in members)]


def _pool_values(
    members: Sequence[Cohort], order: FilmOrder, names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values and mask of all features; what a cohort was made without is unknown of its films."""
    values, known = [], []
    for each in members:
        value_NF = np.full((len(each), len(names)), np.nan, np.float32)
        known_NF = np.zeros((len(each), len(names)), np.bool_)
        at = [names.index(name) for name in each.names]
        value_NF[:, at], known_NF[:, at] = each.ehr_values, each.ehr_known
        values.append(value_NF)
        known.append(known_NF)
    return _gather(values, order), _gather(known, order)


def _pool_ages(members: Sequence[Cohort], order: FilmOrder, names: Sequence[str]) -> NDArray[np.float32] | None:
    aged = [name for name in names if find_feature(name).has_age]
    if not aged:
        return None
    pooled = []
    for each in members:
        age_NA = np.full((len(each), len(aged)), np.nan, np.float32)
        if each.ehr_age_h is not None:
            age_NA[:, [aged.index(name) for name in each.names if find_feature(name).has_age]] = each.ehr_age_h
        pooled.append(age_NA)
    return _gather(pooled, order)


def _pool_labels(members: Sequence[Cohort], order: FilmOrder) -> tuple[Text, NDArray[np.int8]]:
    """Return the findings of all cohorts by name, and their labels; ABSENT for what a cohort has no column of."""
    names = list(dict.fromkeys(name for each in members for name in each.finding_names.tolist()))
    pooled = []
    for each in members:
        label_NL = np.full((len(each), len(names)), ABSENT, np.int8)
        label_NL[:, [names.index(name) for name in each.finding_names.tolist()]] = each.label_values
        pooled.append(label_NL)
    return np.array(names, np.str_), _gather(pooled, order)


def find_unknown(member: Cohort, rows: Rows, names: Sequence[str]) -> list[Feature]:
    """Return those of the named features that are known of none of these films of a cohort."""
    return [
        find_feature(name)
        for name in names
        if name not in member.names or not member.ehr_known[rows, member.names.index(name)].any()
    ]
