"""Films that look the same: equal pixels, or a perceptual hash within a few bits and thumbnails that correlate.

In: packed films. Out: pairs of rows, and the rows that are left out because a later split shows the same film.
Numpy only. The hash alone is not enough: among the 1,354 films of ChestX-ray14's and COVID's samples, pairs within 4 of
64 bits show different people too, with correlations of 0.73 to 0.95; the true pairs have 0.9999.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.audit.crops import find_crops
from cxrssl.audit.ids import group_repeats
from cxrssl.audit.thumbs import Rows, correlate_pairs, read_thumbnails
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.core.text import count_noun
from cxrssl.images.fingerprint import near_pairs
from cxrssl.images.store import ImageStore

NEAR_CORRELATION = 0.99
ACROSS, NEAR, SHARED = "identical-films-in-two-splits", "near-films-in-two-splits", "identical-films-under-two-subjects"
_near: dict[tuple[str, ...], Pairs] = {}
"""What was found in this process, by packs and rows: runs on one cohort ask for the same, `probe` once a candidate."""


class Pairs(NamedTuple):
    """Row first[i] of one pack looks like row second[i] of the other."""

    first: Rows
    second: Rows

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.first[chosen], self.second[chosen])


@dataclass(frozen=True, eq=False)
class Twins:
    """Films of one cohort that look the same in two splits; `first` is of the earlier split."""

    identical: Pairs
    near: Pairs

    @property
    def left_out(self) -> Rows:
        """Rows that nothing may be fitted on: a later split shows the same film."""
        return np.unique(np.r_[self.identical.first, self.near.first])


def find_twins(cohort: Cohort, images: ImageStore, scheme: str) -> Twins:
    """Return the films of a packed cohort that look the same in two splits of a scheme."""
    split = cohort.split_of(scheme)
    number = np.select([split == name for name in SPLITS], range(len(SPLITS)), -1).astype(np.int8)
    number[~images.is_packed_N] = -1
    return Twins(_identical_across(images, number), _near_across(images, number))


def find_near(a: ImageStore, rows_a: Rows, b: ImageStore, rows_b: Rows) -> Pairs:
    """Return the pairs of rows that look the same without being equal pixel by pixel.

    Of two packs, films that one of them has in other greys, or cut to the centre square, are found too.
    """
    key = tuple(word for images, rows in ((a, rows_a), (b, rows_b)) for word in (images.content_sha256, _digest(rows)))
    if key not in _near:
        first, second = near_pairs(a.index.phash[rows_a], b.index.phash[rows_b])
        pairs = Pairs(rows_a[first], rows_b[second])
        pairs = pairs.where(a.index.pixel_hash[pairs.first] != b.index.pixel_hash[pairs.second])
        pairs = pairs.where(correlate_pairs(a, pairs.first, b, pairs.second, read_thumbnails) >= NEAR_CORRELATION)
        if a.content_sha256 != b.content_sha256:
            crops = Pairs(*find_crops(a, rows_a, b, rows_b))
            crops = crops.where(a.index.pixel_hash[crops.first] != b.index.pixel_hash[crops.second])
            both = np.unique(np.stack([np.r_[pairs.first, crops.first], np.r_[pairs.second, crops.second]]), axis=1)
            pairs = Pairs(both[0], both[1])
        _near[key] = pairs
    return _near[key]


def join_look_alikes(cohort: Cohort, images: ImageStore, rows: Rows) -> NDArray[np.int64]:
    """Return a number for each row: equal for films of one subject, and of subjects who share a film by its look.

    Two ids may be one person; folds keep them together, so that no film is fitted on and scored too.
    """
    _, group_R = np.unique(cohort.subject_id[rows], return_inverse=True)
    place_N = np.full(len(cohort), -1)
    place_N[rows] = np.arange(len(rows))
    repeated, value = group_repeats(images.index.pixel_hash[rows])
    identical, near = _pair_up(repeated, value), find_near(images, rows, images, rows)
    return merge_groups(
        group_R, np.r_[identical.first, place_N[near.first]], np.r_[identical.second, place_N[near.second]]
    )


def merge_groups(group_R: Rows, first: Rows, second: Rows) -> Rows:
    """Return the number of the group of each row, that of row first[i] and of row second[i] made one."""
    while True:  # until every pair agrees; a round carries the smallest number one pair further
        least = np.minimum(group_R[first], group_R[second])
        lowest = np.arange(group_R.max(initial=-1) + 1)
        np.minimum.at(lowest, group_R[first], least)
        np.minimum.at(lowest, group_R[second], least)
        if np.array_equal(lowest[group_R], group_R):
            return group_R.astype(np.int64)
        group_R = lowest[group_R]


def audit_looks(cohort: Cohort, images: ImageStore | None) -> list[Result]:
    """Return which films of a cohort look the same in two splits or under two subjects."""
    code = "films-of-another-cohort"
    if images is None:
        return [skip_check(each, "the films are not packed") for each in (code, ACROSS, NEAR, SHARED)]
    compared = f"{count_noun(len(images.image_id), 'packed film')} with those of the cohort"
    if not np.array_equal(images.image_id, cohort.image_id):
        what = f"the packed films of cohort {cohort.name} are those of another state of it"
        why = "the packed films are not those of the cohort"
        return [report_finding(code, compared, what), *(skip_check(each, why) for each in (ACROSS, NEAR, SHARED))]
    return [pass_check(code, compared), *_find_across(cohort, images), _find_shared(cohort, images)]


def _find_across(cohort: Cohort, images: ImageStore) -> list[Result]:
    num_packed = int(images.is_packed_N.sum())
    compared = f"{count_noun(num_packed, 'packed film')} in {count_noun(len(cohort.schemes), 'scheme')}"
    twins = {scheme: find_twins(cohort, images, scheme) for scheme in cohort.schemes}
    results = []
    for code, how, kind in ((ACROSS, "pixel by pixel the same as", "identical"), (NEAR, "nearly the same as", "near")):
        sentences, examples = [], []
        for scheme, each in twins.items():
            rows = np.unique(getattr(each, kind).first)
            if len(rows):
                what = f"{count_noun(len(rows), 'film')} {how} one of a later split"
                sentences.append(f'{what} of "{scheme}"')
                examples += rows.tolist()
        results.append(report_finding(code, compared, "; ".join(sentences), examples))
    return results


def _find_shared(cohort: Cohort, images: ImageStore) -> Result:
    """Find equal films of two subjects on one side of the default split; others are named as being across."""
    packed = np.flatnonzero(images.is_packed_N)
    compared = count_noun(len(packed), "packed film")
    rows, group = group_repeats(images.index.pixel_hash[packed])
    rows, split = packed[rows], cohort.split_of("")
    pairs = _pair_up(rows, group)
    is_shared = cohort.subject_id[pairs.first] != cohort.subject_id[pairs.second]
    pairs = pairs.where(is_shared & (split[pairs.first] == split[pairs.second]))
    if not len(pairs.first):
        return pass_check(SHARED, compared)
    subjects = np.unique(cohort.subject_id[np.r_[pairs.first, pairs.second]])
    what = f"{count_noun(len(subjects), 'subject')} share films that are pixel by pixel the same"
    return report_finding(SHARED, compared, what, pairs.first.tolist())


def _identical_across(images: ImageStore, number: NDArray[np.int8]) -> Pairs:
    """Return each film with the first equal one of a later split."""
    rows = np.flatnonzero(number >= 0)
    repeated, group = group_repeats(images.index.pixel_hash[rows])
    rows = rows[repeated]
    order = np.lexsort((rows, -number[rows], group))
    rows, group = rows[order], group[order]
    latest = rows[np.searchsorted(group, group)]
    is_earlier = number[rows] < number[latest]
    return Pairs(rows[is_earlier], latest[is_earlier])


def _near_across(images: ImageStore, number: NDArray[np.int8]) -> Pairs:
    found_pairs = [
        find_near(images, np.flatnonzero(number == earlier), images, np.flatnonzero(number > earlier))
        for earlier in range(len(SPLITS) - 1)
    ]
    return Pairs(*(np.concatenate(side) for side in zip(*found_pairs, strict=True)))


def _pair_up(rows: Rows, group: Rows) -> Pairs:
    """Return each row with the first of its group."""
    first = rows[np.searchsorted(group, group)]
    return Pairs(first, rows).where(first != rows)


def _digest(rows: Rows) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()
