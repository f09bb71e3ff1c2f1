"""What the record and the film's file reveal of a finding, and links that are impossible. Numpy only.

In: a cohort and, where they are packed, its films. Out: results. Never: the target of a val or test row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.cohort.features import find_feature
from cxrssl.cohort.read import Cohort
from cxrssl.core.text import count_noun, plain
from cxrssl.images.store import ImageStore
from cxrssl.stats.metrics import auroc_of_counts

REVEALING_AUROC = 0.98
MIN_CASES = 10
"""Positives and negatives that a finding needs in train before an AUROC means something."""
INSIDE = ("in_icu", "in_stay", "in_ed")
OUTSIDE = ("no_admission", "bad_time", "pre_admission", "post_discharge", "rejected_row")
KNOWN_IN_A_STAY = ("mortality", "icu")
Rows = NDArray[np.int64]
Counts = NDArray[np.int64]


def audit_values(cohort: Cohort, images: ImageStore | None, targets: Sequence[str]) -> list[Result]:
    """Return what the values of a cohort reveal of these findings, under its default split."""
    compared = f"{count_noun(len(cohort.names), 'feature')} with {count_noun(len(targets), 'finding')}"
    reveals = revealing_features(cohort, cohort.names, cohort.default_split, targets)
    return [
        _find_links_outside(cohort),
        _find_unknown_as_no(cohort),
        *_find_times(cohort),
        report_finding("feature-reveals-target", compared, "; ".join(reveals)),
        _find_revealing_shapes(cohort, images, targets),
    ]


def revealing_features(cohort: Cohort, names: Sequence[str], scheme: str, targets: Sequence[str]) -> list[str]:
    """Return a sentence for each feature, or for its being unknown, if it alone reveals a finding in train."""
    rows = cohort.rows_of("train", scheme)
    sentences = []
    for name in names:
        column = cohort.column_of(name)
        values = np.where(cohort.ehr_known[rows, column], cohort.ehr_values[rows, column], np.nan)
        is_number = not find_feature(name).categories
        for finding, auroc in _revealed_findings(cohort, rows, values, targets, is_number):
            sentences.append(f"{name} alone predicts {finding} in train (AUROC {auroc:.3f})")
    return sentences


def _find_links_outside(cohort: Cohort) -> Result:
    """Find films that are linked to a stay and lie hours away from it."""
    code = "link-outside-stay"
    is_linked = np.isin(cohort.link_status, INSIDE)
    if not np.any(cohort.link_status != ""):
        return skip_check(code, "the dataset has no stays")
    compared = count_noun(int(is_linked.sum()), "linked film")
    rows = np.flatnonzero(
        (is_linked & (cohort.gap_h > 0))
        | ((cohort.stay_id != "") & ~np.isin(cohort.link_status, ("in_icu", "rejected_row")))
    )
    if not len(rows):
        return pass_check(code, compared)
    what = f"{count_noun(len(rows), 'film')} linked to a stay that it does not lie in"
    return report_finding(code, compared, what, rows.tolist())


def _find_unknown_as_no(cohort: Cohort) -> Result:
    code = "unknown-counted-as-no"
    is_outside = np.isin(cohort.link_status, OUTSIDE) & (cohort.hadm_id == "") & (cohort.stay_id == "")
    if not np.any(cohort.link_status != ""):
        return skip_check(code, "the dataset has no stays")
    compared = f"{count_noun(int(is_outside.sum()), 'film')} outside every stay"
    columns = [cohort.column_of(name) for name in KNOWN_IN_A_STAY]
    rows = np.flatnonzero(is_outside & cohort.ehr_known[:, columns].any(axis=1))
    if not len(rows):
        return pass_check(code, compared)
    what = f"{count_noun(len(rows), 'film')} outside every stay with a known {' or '.join(KNOWN_IN_A_STAY)}"
    return report_finding(code, compared, what, rows.tolist())


def _find_times(cohort: Cohort) -> list[Result]:
    """Return whether each measured value is of its window before the film; nothing where none is measured.

    A value that was drawn before the film and stored after it is not used; the result says how many there are.
    """
    aged = [feature for feature in cohort.measured if feature.has_age]
    if cohort.ehr_age_h is None or not aged:
        return []
    code, num_later = "value-outside-window", 0
    ends_A = np.array([each.measured.window_h or np.inf if each.measured else np.inf for each in aged])
    is_wrong_NA: NDArray[np.bool_] = (cohort.ehr_age_h < 0) | (
        cohort.ehr_age_h > np.nextafter(ends_A.astype(np.float32), np.inf)
    )
    for account in cohort.summary.get("measured", {}).values():
        num_later += int(account["stored_later"])
    compared = f"{count_noun(int((~np.isnan(cohort.ehr_age_h)).sum()), 'measured value')} with the time of the film; "
    compared += f"{num_later:,} nearer ones were stored after it and are not used"
    rows = np.flatnonzero(is_wrong_NA.any(axis=1))
    names = ", ".join(
        each.name for each, is_wrong in zip(aged, np.any(is_wrong_NA, axis=0).tolist(), strict=True) if is_wrong
    )
    return [report_finding(code, compared, f"{names} taken after the film or before its window", rows.tolist())
            if len(rows) else pass_check(code, compared)]  # fmt: skip


def _find_revealing_shapes(cohort: Cohort, images: ImageStore | None, targets: Sequence[str]) -> Result:
    """Find findings that the height, width or aspect of the film's file reveals in train."""
    code = "film-shape-reveals-target"
    if images is None:
        return skip_check(code, "the films are not packed")
    rows = cohort.rows_of("train")
    rows = rows[images.is_packed_N[rows]]
    high, wide = images.source_px_N2[rows].astype(np.float64).T
    sentences = [
        f"{name} alone predicts {finding} in train (AUROC {auroc:.3f})"
        for name, values in (("film height", high), ("film width", wide), ("film aspect", high / np.maximum(wide, 1)))
        for finding, auroc in _revealed_findings(cohort, rows, values, targets, is_number=True)
    ]
    compared = f"height, width and aspect of {count_noun(len(rows), 'train film')}"
    return report_finding(code, compared, "; ".join(sentences))


def _revealed_findings(
    cohort: Cohort, rows: Rows, values: NDArray[np.floating[Any]], targets: Sequence[str], is_number: bool
) -> Iterator[tuple[str, float]]:
    """Yield (finding, AUROC) for findings that the values reveal; blank is absent, uncertain is left out.

    A number is tried as it is and by being unknown; categories, unknown among them, in the order that reveals most.
    """
    findings = [name for name in cohort.finding_names.tolist() if name in targets]
    if not len(rows) or not findings:
        return
    labels = cohort.labels(findings)[rows]
    is_unknown = np.isnan(values)
    pos, neg = _count(values, labels)
    if is_number:
        auroc = _auroc(*_count(values[~is_unknown], labels[~is_unknown]))
        auroc = np.maximum(auroc, 1.0 - auroc)
        if is_unknown.any():
            missing = _auroc(*_count(is_unknown.astype(np.float64), labels))
            auroc = np.fmax(auroc, np.maximum(missing, 1.0 - missing))
    else:
        auroc = _auroc(*_order_by_rate(pos, neg))
    for k in np.flatnonzero(auroc > REVEALING_AUROC):
        yield plain(findings[k], 60), float(auroc[k])


def _count(values: NDArray[np.floating[Any]], labels: NDArray[np.int8]) -> tuple[Counts, Counts]:
    """Return positives and negatives [V, L] of each value, ascending; NaN, which is last, is one value."""
    _, inverse = np.unique(values, return_inverse=True)
    num = int(inverse.max(initial=-1)) + 1
    pos, neg = (
        np.stack([np.bincount(inverse, labels[:, k] == wanted, num) for k in range(labels.shape[1])], axis=1)
        for wanted in (1, 0)
    )
    return pos, neg


def _order_by_rate(pos: Counts, neg: Counts) -> tuple[Counts, Counts]:
    order = np.argsort(pos / np.maximum(pos + neg, 1), axis=0, kind="stable")
    return np.take_along_axis(pos, order, 0), np.take_along_axis(neg, order, 0)


def _auroc(pos: Counts, neg: Counts) -> NDArray[np.float64]:
    """Return the AUROC of each finding over ascending values, ties counted half; NaN with too few cases."""
    is_enough = (pos.sum(axis=0) >= MIN_CASES) & (neg.sum(axis=0) >= MIN_CASES)
    return np.where(is_enough, auroc_of_counts(pos, neg), np.nan)
