"""A published evaluation, compared with the cohort that it names. Numpy and stdlib only.

In: the folder of an evaluation, its cohort and films as they are now. Out: results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.audit.pretraining import TRANSDUCTIVE, rows_scored
from cxrssl.cohort.features import find_feature, is_feature
from cxrssl.cohort.read import Cohort
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import ImageStore
from cxrssl.records.arrays import FoldFit, Predictions, ProbeFit
from cxrssl.records.eval_settings import JOINED, PIXELS, EvalSettings
from cxrssl.records.evaluation import NOT_SCORED, Evaluation
from cxrssl.records.features import FeatureKey, open_features
from cxrssl.records.reading import TOKENS, parse_reading

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation with its arrays."""

    eval_id: str
    settings: EvalSettings
    predictions: Predictions
    fit: ProbeFit | None
    """None when it was not recorded, or with folds."""
    folds: FoldFit | None = None


def read_evaluated(evaluation: Evaluation) -> Evaluated:
    """Return an evaluation with its arrays. Raises: IntegrityError."""
    return Evaluated(
        evaluation.eval_id, evaluation.settings, evaluation.predictions(), evaluation.fit(), evaluation.folds()
    )


def audit_evaluation(
    evaluated: Evaluated,
    workspace: Workspace,
    cohort: Cohort,
    images: ImageStore | None,
    stated: Sequence[Result] = (),
) -> list[Result]:
    """Return what is wrong with an evaluation; `stated` are the findings of its run that it must report.

    When cohort or films are not those that it scored, what would need them is not compared.
    """
    results = [audit_known(evaluated.settings.kind, evaluated.settings.features)]
    results.append(_find_unreported(evaluated.settings, stated))
    codes = ("scored-other-films", "scored-other-labels", "fitted-outside-train")
    if evaluated.settings.cohort_sha256 != cohort.content_sha256:
        return results + [skip_check(code, "the cohort has changed since") for code in codes]
    if images is None:
        return results + [skip_check(code, "the films are not packed") for code in codes]
    if evaluated.settings.images_sha256 != images.content_sha256:
        return results + [skip_check(code, "the films have been packed again since") for code in codes]
    return [
        *results,
        _find_other_films(evaluated, cohort, images),
        _find_other_labels(evaluated, cohort),
        _find_folds_fit(evaluated, workspace, cohort) if evaluated.folds else _find_fit(evaluated, workspace, cohort),
    ]


def audit_known(kind: str, features: Sequence[str]) -> Result:
    """Return whether a candidate predicts from what is known only after the film."""
    code = "known-after-film"
    if kind in ("run", "head", "external"):
        return pass_check(code, "an encoder predicts from the film alone")
    after = [name for name in features if is_feature(name) and find_feature(name).known == "after"]
    compared = count_noun(len(features), "input")
    if not after:
        return pass_check(code, compared)
    what = f"{', '.join(after)}, known only after the film, was an input of a prediction at its time"
    return report_finding(code, compared, what)


def audit_reuse(evaluated: Sequence[Evaluated]) -> Result:
    """Return whether one run was scored on the same test films under several settings of the probe."""
    code = "test-set-reused"
    compared = count_noun(len(evaluated), "evaluation")
    times: Counter[tuple[str, ...]] = Counter()
    for key in {
        (e.settings.encoder_id, e.settings.cohort_sha256, e.settings.split, e.settings.candidate.read, e.settings.probe)
        for e in evaluated
        if e.settings.kind == "run" and e.settings.probe.fraction is None
    }:
        times[key[:3]] += 1
    reused = {key: num for key, num in times.items() if num > 1}
    if not reused:
        return pass_check(code, compared)
    named = ", ".join(f"{plain(key[0], 80)} under {num} settings" for key, num in sorted(reused.items()))
    return report_finding(code, compared, f"the same test films were scored more than once: {named}")


def _find_unreported(settings: EvalSettings, stated: Sequence[Result]) -> Result:
    """An evaluation of a leaking run or of an outcome must name it, so that every report can."""
    code, compared = "leak-not-reported", f"{count_noun(len(stated), 'leak')} of the run"
    said = {True: settings.transductive, False: settings.leak}
    unsaid = [result for result in stated if not said[result.code == TRANSDUCTIVE]]
    is_outcome_used = any(is_feature(name) and find_feature(name).role == "outcome" for name in settings.taught)
    if unsaid:
        return report_finding(code, compared, f"the evaluation does not report that {unsaid[0].finding}")
    if is_outcome_used and not settings.is_outcome_used:
        return report_finding(code, compared, "the evaluation does not report that an outcome was an input")
    return pass_check(code, compared)


def _find_other_films(evaluated: Evaluated, cohort: Cohort, images: ImageStore) -> Result:
    code = "scored-other-films"
    test = rows_scored(cohort, evaluated.settings.split)
    test = test[images.is_packed_N[test]]
    scored, drop_batch = evaluated.predictions.image_id, evaluated.settings.probe.drop_batch
    if drop_batch and not evaluated.settings.probe.where:  # and which films are the last of those that meet it
        test = test[: len(test) - len(test) % drop_batch]
    compared = f"{count_noun(len(scored), 'scored film')} with {count_noun(len(test), 'test film')}"
    num_other = int((~np.isin(scored, cohort.image_id[test])).sum())
    is_left_out = ~np.isin(cohort.image_id[test], scored)
    if evaluated.settings.probe.where:  # which films meet a condition is for its database to say
        test, is_left_out = test[~is_left_out], is_left_out[~is_left_out]
    if not num_other and not is_left_out.any() and len(scored) == len(test):
        return pass_check(code, compared)
    what = (
        f"{count_noun(num_other, 'film')} scored outside test, {count_noun(int(is_left_out.sum()), 'test film')} "
        f"not scored, {count_noun(len(scored) - len(np.unique(scored)), 'film')} scored twice"
    )
    return report_finding(code, compared, what, test[is_left_out].tolist())


def _find_other_labels(evaluated: Evaluated, cohort: Cohort) -> Result:
    """Compare the labels that were scored with the cohort's under the policy that is named."""
    code, scored, probe = "scored-other-labels", evaluated.predictions, evaluated.settings.probe
    order = np.argsort(cohort.image_id)
    rows = order[np.searchsorted(cohort.image_id, scored.image_id, sorter=order) % len(cohort)]
    is_in_cohort = cohort.image_id[rows] == scored.image_id
    findings = [str(name) for name in scored.finding_names]
    truth = cohort.labels(findings, probe.uncertain, probe.blank, probe.uncertain_by or ())[rows]
    compared = f"{count_noun(len(rows), 'film')} by {count_noun(len(findings), 'finding')}"
    differs = ((scored.labels != truth) & (scored.labels != NOT_SCORED)).any(axis=1) & is_in_cohort
    if not differs.any():
        return pass_check(code, compared)
    what = f"{count_noun(int(differs.sum()), 'film')} scored against labels that the cohort does not have"
    return report_finding(code, compared, what, rows[differs].tolist())


def _find_fit(evaluated: Evaluated, workspace: Workspace, cohort: Cohort) -> Result:
    """Compute the means of the features again from the train rows, and compare them with those of the fitted probe."""
    code, fit = "fitted-outside-train", evaluated.fit
    if fit is None:
        return skip_check(code, "the evaluation does not record its fit")
    split = cohort.split_of(evaluated.settings.split)
    fitted_on = fit.fitted_on
    is_in_cohort = (fitted_on >= 0) & (fitted_on < len(cohort))
    outside = fitted_on[~is_in_cohort | (split[np.where(is_in_cohort, fitted_on, 0)] != "train")]
    if len(outside):
        compared = count_noun(len(fitted_on), "fitted row")
        what = f"the probe was fitted on {count_noun(len(outside), 'film')} outside train"
        return report_finding(code, compared, what, outside)
    features = _features_of(evaluated.settings, workspace, cohort)
    if features is None:
        return skip_check(code, "the features are not in the workspace")
    compared = f"means and scales of {count_noun(features.shape[1], 'feature')} over {len(fitted_on):,} train films"
    train = features[fitted_on].astype(np.float64)
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    if _is_close(fit.mean_D, train.mean(axis=0)) and _is_close(fit.scale_D, scale):
        return pass_check(code, compared)
    what = f"means and scales of the probe are not those of the {len(train):,} train films"
    return report_finding(code, compared, what)


def _find_folds_fit(evaluated: Evaluated, workspace: Workspace, cohort: Cohort) -> Result:
    """Look for persons in two folds; compute each fold's means again from the films of the other folds."""
    code, folds = "fitted-outside-train", evaluated.folds
    assert folds is not None, "an evaluation of folds"
    scored, num_folds = evaluated.predictions, len(folds.mean_KD)
    compared = count_noun(num_folds, "fold")
    if len(folds.fold_N) != len(scored.image_id) or not np.isin(folds.fold_N, range(num_folds)).all():
        return report_finding(code, compared, "it is not recorded in which fold each film was scored")
    people, person_N = np.unique(scored.subject_id, return_inverse=True)
    num_split = np.unique(np.stack([person_N, folds.fold_N]), axis=1).shape[1] - len(people)
    if num_split:
        return report_finding(code, compared, f"{count_noun(num_split, 'person')} in two folds: fitted on and scored")
    features = _features_of(evaluated.settings, workspace, cohort)
    if features is None:
        return skip_check(code, "the features are not in the workspace")
    compared = f"means and scales of {count_noun(features.shape[1], 'feature')} in {count_noun(num_folds, 'fold')}"
    films = features[np.isin(cohort.image_id, scored.image_id)].astype(np.float64)
    for k in range(num_folds):
        seen = films[folds.fold_N != k]
        scale = np.where(seen.std(axis=0) > 0, seen.std(axis=0), 1.0)
        if not (_is_close(folds.mean_KD[k], seen.mean(axis=0)) and _is_close(folds.scale_KD[k], scale)):
            return report_finding(code, compared, f"those of fold {k + 1} are not those of the films of the others")
    return pass_check(code, compared)


def _is_close(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))


def _features_of(settings: EvalSettings, workspace: Workspace, cohort: Cohort) -> NDArray[np.floating[Any]] | None:
    """Return the candidate's features: of the record from the cohort, of an encoder from the workspace."""
    candidate = settings.candidate
    if settings.kind == PIXELS or (settings.probe.protocol and candidate.weights_sha256):
        return None  # these are not kept, or not in the cache by this key
    if candidate.weights_sha256 is None or candidate.architecture is None:
        return cohort.features(settings.features, "mask")
    read = parse_reading(candidate.read).features if candidate.read else None
    if read == TOKENS:
        return None  # too many to be read for this
    key = FeatureKey(candidate.weights_sha256, settings.images_sha256, candidate.architecture, read)
    folder = key.folder(workspace)
    if not folder.is_dir():
        return None
    features = open_features(folder)
    joined = settings.kind == JOINED
    return np.concatenate([features, cohort.features(settings.features, "mask")], axis=1) if joined else features
