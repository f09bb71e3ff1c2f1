"""Who is one person in several cohorts: by id within a dataset, between datasets and folders by a film's look.

In: cohorts and their packed films. Out: a number for the person of each film, and how many persons are shared.
Never: an id that leaves, or films without a look of their own taken for those of one person. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.looks import merge_groups
from cxrssl.audit.pairs import find_pairs
from cxrssl.cohort.pool import OWN_IDS
from cxrssl.cohort.read import Cohort
from cxrssl.images.store import ImageStore

Rows = NDArray[np.int64]


def join_persons(
    cohorts: Sequence[Cohort], images: Sequence[ImageStore], kept: Path | None = None, may_keep: bool = True
) -> tuple[Rows, int]:
    """Return the person of each film, one cohort after the other, and how many persons are in several cohorts.

    Within a published dataset ids are taken at their word, so that two cohorts of it join nobody whom one of them all
    would not. Folders of users' own are compared by look, too. `kept` and `may_keep` are those of `find_pairs`.
    """
    subject_M = np.concatenate([each.subject_id for each in cohorts])
    sizes = [len(each) for each in cohorts]
    datasets, number = np.unique([each.dataset for each in cohorts], return_inverse=True)
    _, subject = np.unique(subject_M, return_inverse=True)
    _, person_M = np.unique(subject * len(datasets) + np.repeat(number, sizes), return_inverse=True)
    starts = np.r_[0, np.cumsum(sizes)]
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for a, b in combinations(range(len(cohorts)), 2):
        if cohorts[a].dataset != cohorts[b].dataset or cohorts[a].dataset in OWN_IDS:
            of_a, of_b = find_pairs(images[a], images[b], kept, may_keep)
            first.append(starts[a] + of_a)
            second.append(starts[b] + of_b)
    person_M = merge_groups(person_M.astype(np.int64), np.concatenate(first), np.concatenate(second))
    pairs = np.unique(np.stack([person_M, np.repeat(np.arange(len(cohorts)), sizes)]), axis=1)
    return person_M, int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
