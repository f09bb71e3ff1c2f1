"""What a run has seen, compared with the test films of a cohort. Numpy and stdlib only.

In: a published encoder's manifest and its list of films, an open cohort. Out: results.
Never: a skipped comparison that is not reported as skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.audit.looks import find_near
from cxrssl.audit.seen import Pretraining
from cxrssl.audit.values import revealing_features
from cxrssl.cohort.features import find_feature, is_feature
from cxrssl.cohort.read import Cohort
from cxrssl.core.text import count_noun, plain
from cxrssl.images.store import ImageStore
from cxrssl.records.encoder import EhrInput
from cxrssl.records.eval_settings import is_of_folds

Rows = NDArray[np.int64]
TRANSDUCTIVE = "transductive"


def audit_pretraining(
    run: Pretraining, cohort: Cohort, images: ImageStore | None, scheme: str, targets: Sequence[str] = ()
) -> list[Result]:
    """Return what makes the test films of a cohort worthless for a run.

    `targets` are findings, or features that are to be predicted; none named means all findings of the cohort. What the
    run descends from is held against them as the run itself is; a finding names whose it is.
    """
    targets = targets or cohort.finding_names.tolist()
    results = [
        *audit_films(run, cohort, images, scheme),
        audit_outcomes(run.ehr),
        audit_imputation(run.ehr),
        _find_targets(run.features, targets),
        _find_revealing(run.features, cohort, scheme, targets),
    ]
    for each in run.before:
        found = audit_pretraining(each, cohort, images, scheme, targets)
        results += [replace(one, finding=f"before, in {each.run_id}: {one.finding}") if one.finding else one
                    for one in found]  # fmt: skip
    return results + _find_unlisted(run)


def _find_unlisted(run: Pretraining) -> list[Result]:
    what = f"it started from {', '.join(run.unlisted)}, whose training films are unknown"
    compared = f"{count_noun(len(run.before) + len(run.unlisted), 'encoder')} that the run descends from"
    return [report_finding("start-films-unknown", compared, what)] if run.unlisted else []


def audit_films(run: Pretraining, cohort: Cohort, images: ImageStore | None, scheme: str) -> list[Result]:
    """Return which test films of a cohort a run has seen: by id, by person, by look.

    Folds score every film, so that a run on the cohort has seen them: the result is then one that must be said. One
    that may know their labels is refused as on any split.
    """
    test = rows_scored(cohort, scheme)
    results = []
    for each in run.cohorts:
        found = [*_find_seen(each, cohort, test), *_find_look_alikes(each, cohort, images, test)]
        results += _name_member(run, each, found)
    if not is_of_folds(scheme) or run.may_know_labels:
        return results
    found = [result for result in results if result.finding]
    what = "; ".join(result.finding for result in found)
    compared, examples = results[0].compared, [row for result in found for row in result.examples]
    skipped = [result for result in results if result.severity == "skipped"]
    return [report_finding(TRANSDUCTIVE, compared, what, examples), *skipped]


def _name_member(run: Pretraining, part: Pretraining, results: Sequence[Result]) -> list[Result]:
    """Return results that say of which of several cohorts the films are that they compare."""
    if not run.members:
        return list(results)
    return [replace(each, compared=f"{each.compared}, of cohort {part.cohort}") for each in results]


def rows_scored(cohort: Cohort, scheme: str) -> Rows:
    """Return the rows that an evaluation under a split scores: its test films, or with folds all films."""
    return np.arange(len(cohort)) if is_of_folds(scheme) else cohort.rows_of("test", scheme)


def audit_outcomes(ehr: EhrInput) -> Result:
    """Return whether an outcome was an input without being declared."""
    code, names = "outcome-undeclared", ehr.taught
    compared = count_noun(len(names), "pretraining feature")
    outcomes = [name for name in names if is_feature(name) and find_feature(name).role == "outcome"]
    if not outcomes or ehr.may_use_outcomes:
        return pass_check(code, compared)
    what = f"{', '.join(outcomes)}, known after the film, was an undeclared pretraining input"
    return report_finding(code, compared, what)


def audit_imputation(ehr: EhrInput) -> Result:
    """Return whether unknown values were guessed from all splits, as the published code does."""
    code, names = "imputed-with-test-rows", ehr.features
    compared = count_noun(len(names), "pretraining feature")
    if not names or ehr.missing != "paper":
        return pass_check(code, compared)
    return report_finding(code, compared, "unknown values were imputed from the rows of all splits (missing = paper)")


def _find_seen(run: Pretraining, cohort: Cohort, test: Rows) -> list[Result]:
    """Compare by id, within one dataset: test films, then test subjects who were seen on other films."""
    compared = f"{count_noun(len(test), 'test film')} with {count_noun(len(run.films.image_id), 'pretraining film')}"
    codes = ("pretrained-on-test-film", "pretrained-on-test-subject")
    if run.dataset != cohort.dataset:
        return [pass_check(code, f"{compared}, of two datasets") for code in codes]
    is_seen = np.isin(cohort.image_id[test], run.films.image_id)
    seen_subjects = np.unique(cohort.subject_id[test[is_seen]])
    is_known = np.isin(cohort.subject_id[test], run.films.subject_id)
    is_known &= ~np.isin(cohort.subject_id[test], seen_subjects)
    known_subjects = np.unique(cohort.subject_id[test[is_known]])
    films = (
        f"{count_noun(int(is_seen.sum()), 'test film')} ({count_noun(len(seen_subjects), 'test subject')}) "
        f"of cohort {cohort.name} took part in pretraining"
    )
    subjects = f"{count_noun(len(known_subjects), 'test subject')} of cohort {cohort.name} took part in pretraining"
    return [
        report_finding(code, compared, what, test[chosen].tolist()) if chosen.any() else pass_check(code, compared)
        for code, what, chosen in zip(codes, (films, subjects), (is_seen, is_known), strict=True)
    ]


def _find_look_alikes(run: Pretraining, cohort: Cohort, images: ImageStore | None, test: Rows) -> list[Result]:
    """Compare by pixels; films of a test subject who was found by id are not counted again."""
    identical, near = "pretrained-on-identical-film", "pretrained-on-near-film"
    if images is None:
        return [
            skip_check(identical, "the test films are not packed"),
            skip_check(near, "the test films are not packed"),
        ]
    test = test[images.is_packed_N[test]]
    if run.dataset == cohort.dataset:
        test = test[~np.isin(cohort.subject_id[test], run.films.subject_id)]
    compared = f"{count_noun(len(test), 'test film')} with {count_noun(len(run.films.image_id), 'pretraining film')}"
    seen_pixels = run.films.pixel_hash[run.films.pixel_hash != b""]
    equal = test[np.isin(images.index.pixel_hash[test], seen_pixels)]
    what = f"{count_noun(len(equal), 'test film')} of cohort {cohort.name} took part in pretraining under another id"
    results = [
        report_finding(identical, compared, what, equal.tolist()) if len(equal) else pass_check(identical, compared)
    ]
    if run.images is None:
        return [*results, skip_check(near, f"the packed films of cohort {run.cohort} are not in the workspace")]
    seen = np.flatnonzero(np.isin(run.images.image_id, run.films.image_id) & run.images.is_packed_N)
    alike = np.setdiff1d(find_near(run.images, seen, images, test).second, equal)
    what = f"{count_noun(len(alike), 'test film')} of cohort {cohort.name} looks like a pretraining film"
    return [
        *results,
        report_finding(near, compared, what, alike.tolist()) if len(alike) else pass_check(near, compared),
    ]


def _find_targets(features: Sequence[str], targets: Sequence[str]) -> Result:
    code = "target-was-input"
    compared = f"{count_noun(len(features), 'pretraining feature')} with {count_noun(len(targets), 'target')}"
    fed = {_quantity(name) for name in features}
    revealed = [target for target in targets if _quantity(target) in fed]
    if not revealed:
        return pass_check(code, compared)
    return report_finding(code, compared, f"{', '.join(plain(name, 60) for name in revealed)} was a pretraining input")


def _find_revealing(features: Sequence[str], cohort: Cohort, scheme: str, targets: Sequence[str]) -> Result:
    code = "feature-reveals-target"
    compared = f"{count_noun(len(features), 'pretraining feature')} with {count_noun(len(targets), 'target')}"
    known = [name for name in features if name in cohort.names]
    sentences = revealing_features(cohort, known, "" if is_of_folds(scheme) else scheme, targets)
    return report_finding(code, compared, "; ".join(sentences), severity="refuse")


def _quantity(name: str) -> str:
    """Return what a feature or a finding is about, under one name for all its forms."""
    if not is_feature(name.casefold()):
        return name
    feature = find_feature(name.casefold())
    return feature.form_of or feature.reveals or feature.name
