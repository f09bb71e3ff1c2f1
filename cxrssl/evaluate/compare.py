"""Two evaluations on the same test films: by how much one is better. Numpy only, so that a report needs no torch."""

from __future__ import annotations

import numpy as np

from cxrssl.core.errors import DataError
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.scores import Comparison, compare_predictions

SHARED = ("image_id", "labels", "finding_names")
"""What the predictions of two evaluations must have in common."""


def compare_evaluations(a: Evaluation, b: Evaluation) -> Comparison:
    """Return the paired differences a - b of two evaluations on the same test films.

    Raises: DataError when their films, labels or resampling settings are not the same.
    """
    first, second = a.predictions(), b.predictions()
    same = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in SHARED)
    if not same or a.settings.probe != b.settings.probe:
        raise DataError("these evaluations are not of the same test films and labels", f"{a.eval_id}, {b.eval_id}")
    return compare_predictions(
        first.logits,
        second.logits,
        first.labels,
        first.subject_id,
        first.finding_names.tolist(),
        num_resamples=a.settings.probe.num_resamples,
        seed=a.settings.probe.seed,
    )
