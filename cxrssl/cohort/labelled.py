"""A share of the subjects whose labels are used, as where labels are few: for a probe and for fine-tuning alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.seed import subject_fraction


def draw_subjects(subject_R: NDArray[np.str_], fraction: float, seed: int, draw: int) -> NDArray[np.bool_]:
    """Return which rows [R] are of a drawn share of their subjects, one subject at least.

    Each draw orders the subjects by a number of their own: a larger share holds the smaller ones, and a subject keeps
    its place, whichever other subjects there are.
    Differs: the published code of Shurrab et al. 2024 draws films, not subjects.
    """
    subjects = np.unique(subject_R)
    place = [subject_fraction(subject, f"labels/{seed}/{draw}") for subject in subjects.tolist()]
    drawn = subjects[np.argsort(place, kind="stable")[: max(1, round(fraction * len(subjects)))]]
    return np.isin(subject_R, drawn)
