"""Ids and splits of a cohort: no film, study or person twice, none on two sides of a split. Numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.core.text import count_noun

Rows = NDArray[np.int64]


def audit_ids(cohort: Cohort) -> list[Result]:
    """Return what is wrong with the ids and splits of a cohort."""
    return [
        _find_unknown_subjects(cohort),
        *_find_twice(cohort),
        _find_files_twice(cohort),
        _find_studies_shared(cohort),
        _find_subjects_split(cohort),
        _find_films_without_split(cohort),
        _find_changed_splits(cohort),
    ]


def _find_unknown_subjects(cohort: Cohort) -> Result:
    code, compared = "subject-unknown", count_noun(len(cohort), "film")
    rows = np.flatnonzero(cohort.subject_id == "")
    if not len(rows):
        return pass_check(code, compared)
    return report_finding(code, compared, f"{count_noun(len(rows), 'film')} without a subject", rows.tolist())


def _find_twice(cohort: Cohort) -> list[Result]:
    compared = count_noun(len(cohort), "image id")
    rows, group = group_repeats(cohort.image_id)
    is_shared = _differs_within(group, cohort.subject_id[rows])
    results = []
    for code, chosen, rest in (
        ("image-twice", rows[~is_shared], "on several rows"),
        ("image-under-two-subjects", rows[is_shared], "under several subjects"),
    ):
        num = len(np.unique(cohort.image_id[chosen]))
        what = f"{count_noun(num, 'image id')} {rest}" if num else ""
        results.append(report_finding(code, compared, what, chosen.tolist()))
    return results


def _find_files_twice(cohort: Cohort) -> Result:
    """Find one file under several image ids; rows of one image id are named by another check."""
    code, compared = "file-twice", count_noun(len(cohort), "path")
    rows, group = group_repeats(cohort.path)
    rows = rows[_differs_within(group, cohort.image_id[rows])]
    if not len(rows):
        return pass_check(code, compared)
    num = len(np.unique(cohort.path[rows]))
    return report_finding(code, compared, f"{count_noun(num, 'file')} under several image ids", rows.tolist())


def _find_studies_shared(cohort: Cohort) -> Result:
    code, compared = "study-under-two-subjects", count_noun(len(np.unique(cohort.study_id)), "study")
    rows, group = group_repeats(cohort.study_id)
    rows = rows[_differs_within(group, cohort.subject_id[rows])]
    rows = rows[~np.isin(cohort.image_id[rows], _shared_images(cohort))]
    if not len(rows):
        return pass_check(code, compared)
    num = len(np.unique(cohort.study_id[rows]))
    return report_finding(code, compared, f"{count_noun(num, 'study')} under several subjects", rows.tolist())


def _find_subjects_split(cohort: Cohort) -> Result:
    code = "subject-in-two-splits"
    num_subjects = len(np.unique(cohort.subject_id))
    compared = f"{count_noun(num_subjects, 'subject')} in {count_noun(len(cohort.schemes), 'scheme')}"
    sentences: list[str] = []
    examples: list[int] = []
    for scheme in cohort.schemes:
        split = cohort.split_of(scheme)
        rows, group = group_repeats(cohort.subject_id)
        rows = rows[_differs_within(group, split[rows])]
        if len(rows):
            num = len(np.unique(cohort.subject_id[rows]))
            sentences.append(f'{count_noun(num, "subject")} of {num_subjects:,} in two splits of "{scheme}"')
            examples += rows.tolist()
    return report_finding(code, compared, "; ".join(sentences), examples)


def _find_films_without_split(cohort: Cohort) -> Result:
    code = "film-without-split"
    compared = f"{count_noun(len(cohort), 'film')} in {count_noun(len(cohort.schemes), 'scheme')}"
    sentences: list[str] = []
    examples: list[int] = []
    for scheme in cohort.schemes:
        rows = np.flatnonzero(~np.isin(cohort.split_of(scheme), SPLITS))
        if len(rows):
            sentences.append(f'{count_noun(len(rows), "film")} in no split of "{scheme}"')
            examples += rows.tolist()
    return report_finding(code, compared, "; ".join(sentences), examples)


def _find_changed_splits(cohort: Cohort) -> Result:
    """Compare the films of each split with the counts that were recorded when the split was made."""
    code = "split-changed"
    recorded: dict[str, Any] = cohort.summary.get("splits", {})
    schemes = [scheme for scheme in cohort.schemes if scheme in recorded]
    if not schemes:
        return skip_check(code, "the summary records no split")
    compared = f"{count_noun(len(schemes), 'scheme')} with the recorded counts"
    sentences = []
    for scheme in schemes:
        split = cohort.split_of(scheme)
        for part in SPLITS:
            num, then = int((split == part).sum()), int(recorded[scheme].get(part, {}).get("films", 0))
            if num != then:
                sentences.append(f'{part} of "{scheme}" has {count_noun(num, "film")}, {then:,} when it was made')
    return report_finding(code, compared, "; ".join(sentences))


def group_repeats(values: NDArray[Any]) -> tuple[Rows, Rows]:
    """Return the rows whose value occurs more than once, by value, and the number of the value of each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_new = np.r_[True, ordered[1:] != ordered[:-1]] if len(values) else np.zeros(0, bool)
    group = np.cumsum(is_new) - 1
    is_repeated = np.bincount(group, minlength=1)[group] > 1
    return order[is_repeated].astype(np.int64), group[is_repeated].astype(np.int64)


def _differs_within(group: Rows, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether its group (equal numbers side by side) holds more than one value."""
    if not len(group):
        return np.zeros(0, bool)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    sizes = np.diff(np.r_[starts, len(group)])
    differs = values != np.repeat(values[starts], sizes)
    return np.repeat(np.logical_or.reduceat(differs, starts), sizes)


def _shared_images(cohort: Cohort) -> NDArray[np.str_]:
    rows, group = group_repeats(cohort.image_id)
    return cohort.image_id[rows[_differs_within(group, cohort.subject_id[rows])]]
