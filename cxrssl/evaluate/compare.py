"""Evaluations on the same test films: which of them a report compares, and by how much one is better.

In: published evaluations. Out: published comparisons. Numpy only, so that a report needs no torch.
Never: resamples drawn again for a comparison that is already published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from cxrssl.core.errors import DataError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.comparison import ComparisonRecord, ComparisonSettings, find_comparison, publish_comparison
from cxrssl.records.eval_settings import JOINED, JOINED_WITH, PIXELS, kind_rank
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, compare_predictions

SHARED = ("image_id", "labels", "finding_names")
"""What the predictions of two evaluations must have in common."""
UNTRAINED, VANILLA = "untrained", "vanilla"
Group = list[Evaluation]
"""Evaluations on equal terms, runs first."""
Differences = dict[tuple[str, str], Comparison | str]
"""By the ids of two evaluations how much better the first is; why they cannot be compared, in words."""


def compare_evaluations(a: Evaluation, b: Evaluation) -> Comparison:
    """Return the paired differences a - b of two evaluations on the same test films.

    Raises: DataError when their films, labels or resampling settings are not the same.
    """
    first, second, fold_N = a.predictions(), b.predictions(), a.find_folds()
    same = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in SHARED)
    same &= np.array_equal(np.asarray(fold_N), np.asarray(b.find_folds()))
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
        fold_N=fold_N,
    )


def compare_published(workspace: Workspace, a: Evaluation, b: Evaluation) -> ComparisonRecord:
    """Return the published comparison a - b, made and published now if it is missing, damaged or out of date.

    Raises: DataError when the two cannot be compared.
    """
    settings = ComparisonSettings.of(a, b)
    record = find_comparison(workspace, settings)
    return record or publish_comparison(workspace, settings, compare_evaluations(a, b))


def publish_comparisons(workspace: Workspace, pairs: Iterable[tuple[Evaluation, Evaluation]]) -> Differences:
    """Return the differences of these pairs, those that are missing published now."""
    differences: Differences = {}
    for a, b in pairs:
        try:
            differences[a.eval_id, b.eval_id] = compare_published(workspace, a, b).differences
        except DataError as error:
            differences[a.eval_id, b.eval_id] = error.what
    return differences


def group_evaluations(evaluations: Sequence[Evaluation]) -> list[Group]:
    """Return evaluations that one table may hold, those on equal terms; runs first."""
    groups: dict[str, Group] = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.settings.terms, []).append(evaluation)
    return [sorted(group, key=_row_order) for _, group in sorted(groups.items())]


def list_pairs(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, Evaluation]]:
    """Return what a report compares: each encoder with what `REFERENCES` finds for it, and each probe with those that
    were carried here from other cohorts.
    """
    groups = group_evaluations(evaluations)
    pairs = [(a, find(a, group)) for group in groups for a in group for find in REFERENCES.values()]
    return [*((a, b) for a, b in pairs if b is not None), *list_carried(evaluations)]


def list_carried(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, Evaluation]]:
    """Return each probe that was fitted on a cohort with each that was carried there, of one encoder."""
    own = {_without_fit(each): each for each in evaluations if each.settings.carried is None}
    carried = [each for each in evaluations if each.settings.carried is not None]
    return [(own[_without_fit(each)], each) for each in carried if _without_fit(each) in own]


def _without_fit(evaluation: Evaluation) -> tuple[str, str]:
    """Return what a carried probe shares with the one that was fitted there."""
    settings = evaluation.settings
    return settings.candidate_id, replace(settings, carried=None).terms


def find_untrained(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """Return the untrained encoder of the same architecture and seed, for a run."""
    if evaluation.settings.kind != "run":
        return None
    wanted = evaluation.settings.candidate
    untrained = (each for each in group if each.settings.kind == "random-init")
    alike = (each for each in untrained if each.settings.candidate.read == wanted.read)
    return next((each for each in alike if each.settings.candidate.architecture == wanted.architecture), None)


def find_vanilla(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """Return the run without the record, but with the same recipe, cohort and films, for a run with the record."""
    settings = evaluation.settings
    if settings.kind != "run" or not settings.features:
        return None
    setup = settings.candidate.setup_sha256
    vanilla = (each for each in group if each.settings.kind == "run" and not each.settings.features)
    return next((each for each in vanilla if each.settings.candidate.setup_sha256 == setup), None)


def find_pixels(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """Return the thumbnails of the same films, for a trained encoder."""
    if evaluation.settings.kind not in ("run", "external"):
        return None
    return next((each for each in group if each.settings.kind == PIXELS), None)


def find_encoder(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """Return the encoder alone, for one that the record is joined to."""
    if evaluation.settings.kind != JOINED:
        return None
    alone = evaluation.settings.candidate_id.rpartition(JOINED_WITH)[0]
    return next((each for each in group if each.settings.candidate_id == alone), None)


def find_record(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """Return the record alone, for an encoder that it is joined to."""
    if evaluation.settings.kind != JOINED:
        return None
    alike = (each for each in group if each.settings.kind == "ehr-only" and each.settings.candidate.chosen_by)
    return next((each for each in alike if set(each.settings.features) == set(evaluation.settings.features)), None)


REFERENCES: dict[str, Callable[[Evaluation, Group], Evaluation | None]] = {
    UNTRAINED: find_untrained,
    VANILLA: find_vanilla,
    PIXELS: find_pixels,
    "encoder alone": find_encoder,
    "record alone": find_record,
}
"""What an evaluation is compared with, by its name in tables."""


def describe_against_pixels(label: str, difference: Interval) -> str:
    """Return in a sentence that an encoder does not beat the thumbnails of the same films; empty when it does."""
    if difference.lo > 0 or not difference.has_interval:
        return ""
    how = "is worse than" if difference.hi < 0 else "does not beat"
    return f"{plain(label, 80)} {how} pixels: macro AUROC {difference.to_text(signed=True)}."


def _row_order(evaluation: Evaluation) -> tuple[int, int, str]:
    settings = evaluation.settings
    return kind_rank(settings.kind), len(settings.features), evaluation.eval_id
