"""What a test set can show, before anything is trained: the smallest difference by finding and in the mean.

In: a cohort, its packed films, a split, the settings of a probe. Out: numbers for JSON, and a sentence. No torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrssl.cohort.read import Cohort
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.scores import EvalScores
from cxrssl.stats.power import describe_smallest
from cxrssl.stats.resample import count_subjects


def find_visible(
    cohort: Cohort, images: ImageStore, scheme: str, num_seeds: int, probe: ProbeSettings | None = None
) -> dict[str, Any]:
    """Return the smallest differences that the packed test films of a split can show, or all films with folds."""
    probe = probe or ProbeSettings()
    test = np.arange(len(cohort)) if probe.folds else cohort.rows_of("test", scheme)
    test = test[images.is_packed_N[test]]
    names = [str(name) for name in cohort.finding_names]
    if not names or not len(test):
        return describe_smallest([], np.empty(0, np.int64), np.empty(0, np.int64), num_seeds)
    labels_NL = cohort.labels(names, probe.uncertain, probe.blank)[test]
    return describe_smallest(names, *count_subjects(labels_NL, cohort.subject_id[test]), num_seeds)


def find_visible_of(scores: EvalScores) -> dict[str, Any]:
    """Return the smallest differences that the films of an evaluation can show between two runs of one seed."""
    counted = {name: (each.num_pos_subjects or 0, each.num_neg_subjects or 0) for name, each in scores.findings.items()}
    pos_L, neg_L = np.array(list(counted.values()), np.int64).reshape(-1, 2).T
    return describe_smallest(list(counted), pos_L, neg_L, 1)
