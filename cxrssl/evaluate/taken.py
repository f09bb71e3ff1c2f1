"""A fitted probe of any kind, taken from the evaluation that recorded it, to be applied to other films.

In: an evaluation, what makes its encoder a candidate. Out: the probe, of the findings that are asked for.
Never: a probe that is fitted anew; neighbours alone, who are people and are not recorded, are found in the features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.fitted import to_patch_probe, to_probe
from cxrssl.evaluate.fitting import AnyProbe
from cxrssl.evaluate.patches import PatchProbe
from cxrssl.evaluate.probe import LinearProbe
from cxrssl.evaluate.reading import KnnProbe, fit_knn
from cxrssl.images.store import ImageStore
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import open_fitted, open_patches
from cxrssl.records.reading import CLS, Reading, parse_reading
from cxrssl.train.pooled import open_films

MakeCandidate = Callable[[Cohort, ImageStore, str], Candidate]
"""The encoder of an evaluation as a candidate for a cohort, under a split."""


def reading_of(evaluation: Evaluation) -> Reading:
    """Return what was read of the encoder of an evaluation."""
    return parse_reading(evaluation.settings.candidate.read or CLS.name)


def take_probe(workspace: Workspace, source: Evaluation, make_candidate: MakeCandidate) -> AnyProbe:
    """Return the fitted probe of an evaluation.

    Raises: DataError when it was not recorded, or its cohort has changed; IntegrityError when it is damaged.
    """
    reading = reading_of(source)
    if reading.kind == "knn":
        return _find_neighbours(workspace, source, make_candidate, reading.count)
    return open_reading(source)[1]


def open_reading(source: Evaluation) -> tuple[Reading, LinearProbe | PatchProbe]:
    """Return what the recorded probe of an evaluation reads of an encoder, and the probe.

    Raises: DataError when it was not recorded; IntegrityError when it is damaged.
    """
    reading = reading_of(source)
    if reading.pooling:
        return reading, to_patch_probe(open_patches(source), reading.pooling)
    return reading, to_probe(open_fitted(source))


def _find_neighbours(
    workspace: Workspace, source: Evaluation, make_candidate: MakeCandidate, num_neighbours: int
) -> KnnProbe:
    about, fit = source.settings, source.fit()
    cohort, images = open_films(workspace, about.cohort)
    if fit is None or cohort.content_sha256 != about.cohort_sha256:
        what = f"cohort {cohort.name} has changed since its films were taken as neighbours"
        raise DataError(what, cohort.folder, f"probe it again: cxrssl probe --cohort {cohort.name}")
    how = about.probe
    findings = list(how.findings or map(str, cohort.finding_names))
    labels_NL = cohort.labels(findings, how.uncertain, how.blank, how.uncertain_by or ())
    features_ND = make_candidate(cohort, images, about.split).features()
    return fit_knn(features_ND[fit.fitted_on], labels_NL[fit.fitted_on], num_neighbours)


def choose_findings(probe: AnyProbe, columns: Sequence[int]) -> AnyProbe:
    """Return a probe of these of its findings, in this order; what it has of each finding is named with an L."""
    chosen: dict[str, Any] = {}
    for name in (each.name for each in dataclasses.fields(probe)):
        axis = name.rpartition("_")[2].find("L")
        if axis >= 0:
            chosen[name] = getattr(probe, name)[(*[slice(None)] * axis, list(columns))]
    return dataclasses.replace(probe, **chosen)
