"""A carried probe and the films that it was fitted on, against the cohort that it is carried to.

In: evaluations, the plan of a cohort's test films. Out: what the probe has seen of them, in words; by how much AUROC
changes between two cohorts. Never: resamples of two cohorts taken for paired.
"""

from __future__ import annotations

import numpy as np

from cxrssl.audit.looks import find_near
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import find_source
from cxrssl.stats.measure import mean_defined
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import Interval, percentile_interval
from cxrssl.stats.scores import resample_metrics
from cxrssl.train.pooled import open_films

MACRO = "macro"


def measure_change(here: Evaluation, carried: Evaluation) -> dict[str, Interval]:
    """Return AUROC of a probe in the cohort that it was carried to, minus that at home, by finding and of their mean.

    The test films are of other subjects, so that both cohorts are resampled apart. The mean is over the findings that
    both test sets define; in a resample over those of them that both define in it.
    """
    source = find_source(carried)
    assert source is not None, "a carried probe"
    scored = {name: score for name, score in carried.scores.findings.items() if score.is_defined}
    at_home = here.scores.findings
    names = [name for name in scored if at_home[source.findings[name]].is_defined]
    if not names:
        return {}
    there_L, there_LR = _resample(carried, names, 1)
    here_L, here_LR = _resample(here, [source.findings[name] for name in names], 0)
    changes = {}
    for column, name in enumerate(names):
        pair = scored[name].auroc, at_home[source.findings[name]].auroc
        rarer = min(each.num_rarer or 0 for each in pair)
        value = float(there_L[column] - here_L[column])
        changes[name] = percentile_interval(value, there_LR[column] - here_LR[column], rarer)
    rarer = min(each.scores.macro_auroc.num_rarer or 0 for each in (here, carried))
    return {
        MACRO: percentile_interval(float((there_L - here_L).mean()), mean_defined(there_LR - here_LR), rarer),
        **changes,
    }


def _resample(evaluation: Evaluation, names: list[str], offset: int) -> tuple[Floats, Floats]:
    """Return AUROC of these findings [L], and in each resample [L, R]; another offset draws other resamples."""
    films, probe = evaluation.predictions(), evaluation.settings.probe
    columns = [films.finding_names.tolist().index(name) for name in names]
    values, samples = resample_metrics(
        films.logits[:, columns],
        films.labels[:, columns],
        films.subject_id,
        names,
        num_resamples=probe.num_resamples,
        seed=probe.seed + offset,
    )
    return values[0, 1:], samples[0, 1:]


def find_fitted_on(workspace: Workspace, source: Evaluation, plan: EvalPlan) -> str:
    """Return which test films of a plan the probe was fitted or chosen on, or whose subjects; empty for none.

    Raises: DataError when the cohort that it was fitted on has changed since.
    """
    origin, packed = open_films(workspace, source.settings.cohort)
    fit = source.fit()
    if fit is None or origin.content_sha256 != source.settings.cohort_sha256:
        what = f"cohort {origin.name} has changed since the probe was fitted on it"
        raise DataError(what, origin.folder, f"fit it again: cxrssl probe --cohort {origin.name}")
    # Val films chose the strength, the thresholds and the calibration, which are carried with the weights.
    val = origin.rows_of("val", source.settings.split)
    rows = np.union1d(fit.fitted_on, val[packed.is_packed_N[val]])
    cohort, images, test = plan.cohort, plan.images, plan.rows["test"]
    is_known = np.zeros(len(test), np.bool_)
    if origin.dataset == cohort.dataset:
        is_known = np.isin(cohort.subject_id[test], origin.subject_id[rows])
    left = test[~is_known]
    is_equal = np.isin(images.index.pixel_hash[left], packed.index.pixel_hash[rows])
    alike = np.union1d(left[is_equal], find_near(packed, rows, images, left).second)
    parts = []
    if is_known.any():
        num = len(np.unique(cohort.subject_id[test[is_known]]))
        parts.append(f"{count_noun(num, 'test subject')} of cohort {cohort.name} took part")
    if len(alike):
        parts.append(f"{count_noun(len(alike), 'test film')} of cohort {cohort.name} looks like a film that took part")
    return f"{' and '.join(parts)} in fitting the probe on cohort {origin.name}" if parts else ""
