"""The metrics of published evaluations in resamples of their test subjects, and without each of those.

In: published evaluations, one a seed. Out: arrays. No torch. Never: evaluations of other films or labels side by side.

Suffix letters: T the two metrics (AUROC, average precision), L the macro mean and the findings, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cxrssl.core.errors import DataError
from cxrssl.evaluate.compare import SHARED
from cxrssl.records.arrays import Predictions
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.measure import leave_out_each
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import BCA_BELOW
from cxrssl.stats.scores import resample_metrics


@dataclass
class Resamples:
    """The metrics of evaluations in the resamples of their test subjects; each evaluation is measured once."""

    _measured: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    """By the content of an evaluation."""
    _left_out: dict[str, Floats | None] = field(default_factory=dict)
    _first: dict[str, Predictions] = field(default_factory=dict)
    """What all evaluations on equal terms must have in common."""

    def names(self, evaluations: Sequence[Evaluation]) -> list[str]:
        """Return the findings of evaluations that were measured, in the order of what was measured."""
        names: list[str] = self._first[evaluations[0].settings.terms].finding_names.tolist()
        return names

    def measure(self, evaluations: Sequence[Evaluation]) -> tuple[Floats, Floats]:
        """Return both metrics of each seed on the full test set [T, L, S] and in resamples [T, L, S, R].

        Raises: DataError when the test films or labels of an evaluation are not those of the others on equal terms.
        """
        found = [self._measure_one(evaluation) for evaluation in evaluations]
        return np.stack([values for values, _ in found], axis=2), np.stack([drawn for _, drawn in found], axis=2)

    def leave_out(self, evaluations: Sequence[Evaluation]) -> Floats | None:
        """Return the means over seeds without each subject [T, L, subjects], None where no interval needs them."""
        found = [self._leave_out_one(each) for each in evaluations]
        defined = [each for each in found if each is not None]
        return np.mean(defined, axis=0) if len(defined) == len(found) else None

    def _leave_out_one(self, evaluation: Evaluation) -> Floats | None:
        if evaluation.content_sha256 not in self._left_out:
            of = evaluation.predictions()
            self._left_out[evaluation.content_sha256] = leave_out_each(
                of.logits, of.labels, of.subject_id, evaluation.find_folds(), BCA_BELOW
            )
        return self._left_out[evaluation.content_sha256]

    def _measure_one(self, evaluation: Evaluation) -> tuple[Floats, Floats]:
        if evaluation.content_sha256 not in self._measured:
            self._measured[evaluation.content_sha256] = self._resample(evaluation)
        return self._measured[evaluation.content_sha256]

    def _resample(self, evaluation: Evaluation) -> tuple[Floats, Floats]:
        predictions, probe = evaluation.predictions(), evaluation.settings.probe
        first = self._first.setdefault(evaluation.settings.terms, predictions)
        if not all(
            np.array_equal(getattr(first, name), getattr(predictions, name)) for name in (*SHARED, "subject_id")
        ):
            raise DataError("its test films or labels are not those of the others", evaluation.eval_id)
        return resample_metrics(
            predictions.logits,
            predictions.labels,
            predictions.subject_id,
            predictions.finding_names.tolist(),
            num_resamples=probe.num_resamples,
            seed=probe.seed,
            fold_N=evaluation.find_folds(),
        )
