"""Learning curves: an evaluation made again with the labels of a share of the train subjects, several draws of each.

In: settings, shares, evaluations. Out: the settings of each draw; curves, as means over draws. No torch.
Never: a mean over other findings at one share than at another.

Suffix letters: T the two metrics (AUROC, average precision), L the findings, S draws, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import UsageError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings, kind_rank
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.learning import CurveNumbers, CurveSettings, find_curve, publish_curve
from cxrssl.stats.metrics import Floats
from cxrssl.stats.scores import rarer_of_mean, resample_metrics
from cxrssl.stats.seeds import SeedMean, SeedNumbers, SeedScores, average_seeds

MAX_DRAWS = 100


@dataclass(frozen=True)
class Curve:
    """The evaluations of one candidate that differ in the share of the labels alone."""

    curve_id: str
    settings: EvalSettings
    """Those of all labels."""
    points: Mapping[float, tuple[Evaluation, ...]]
    """By the share, ascending, its draws; 1.0 is the evaluation with all labels, where there is one."""

    def to_record(self) -> CurveSettings:
        """What its published numbers are of."""
        members = {
            f"{share:g}": {each.eval_id: each.content_sha256 for each in draws} for share, draws in self.points.items()
        }
        return CurveSettings(self.curve_id, members)


def read_fractions(text: str) -> tuple[float, ...]:
    """Return shares from percentages with commas between them, ascending: "1,5,100" is (.01, .05, 1.0).

    Raises: UsageError for what is no percentage, or is named twice.
    """
    shares = []
    for part in (part.strip() for part in text.split(",")):
        try:
            percent = float(part)
        except ValueError:
            percent = 0.0
        if not 1 <= percent <= 100:
            what = f'--fractions has "{plain(part, 40)}"'
            raise UsageError(what, hint="write percentages of the train subjects, from 1 to 100: 10 is a tenth")
        shares.append(percent / 100)
    if len(set(shares)) < len(shares):
        raise UsageError("--fractions names a percentage twice", hint="name it once; --draws repeats all of them")
    return tuple(sorted(shares))


def check_fractions(fractions: Sequence[float], draws: int, settings: ProbeSettings) -> None:
    """Raise UsageError for draws that cannot be, or shares of the labels with folds."""
    if not 1 <= draws <= MAX_DRAWS:
        raise UsageError(f"--draws is {draws}", hint=f"choose 1 to {MAX_DRAWS}")
    if fractions and settings.folds:
        what = "--fractions draws from the train films of a split, and with --folds there is none"
        raise UsageError(what, hint="name one of them")


def list_draws(settings: ProbeSettings, fractions: Sequence[float], draws: int) -> list[ProbeSettings]:
    """Return the settings of each draw of each share below all labels."""
    check_fractions(fractions, draws, settings)
    shares = [share for share in fractions if share < 1]
    return [replace(settings, fraction=share, draw=draw) for share in shares for draw in range(draws)]


def find_curves(evaluations: Sequence[Evaluation], points: Sequence[Evaluation]) -> list[Curve]:
    """Return the curves that have points below all labels; runs first, those on equal terms together."""
    wholes = {name_curve(each.settings): each for each in evaluations}
    by_curve: dict[str, list[Evaluation]] = {}
    for each in points:
        by_curve.setdefault(name_curve(each.settings), []).append(each)
    curves = []
    for name, found in by_curve.items():
        shares: dict[float, tuple[Evaluation, ...]] = {}
        for each in sorted(found, key=_place):
            shares[_place(each)[0]] = (*shares.get(_place(each)[0], ()), each)
        if name in wholes:
            shares[1.0] = (wholes[name],)
        curves.append(Curve(name, _with_all_labels(found[0].settings), shares))
    return sorted(curves, key=lambda curve: (curve.settings.terms, kind_rank(curve.settings.kind), curve.curve_id))


def name_curve(settings: EvalSettings) -> str:
    """Return the id that the points of one curve share."""
    return hash_settings(_with_all_labels(settings).to_dict())[:12]


def publish_curves(workspace: Workspace, curves: Sequence[Curve]) -> dict[str, CurveNumbers]:
    """Return the numbers of curves by their ids, those that are missing or out of date made and published now."""
    found = {curve.curve_id: find_curve(workspace, curve.to_record()) for curve in curves}
    return {
        curve.curve_id: found[curve.curve_id] or publish_curve(workspace, curve.to_record(), measure_curve(curve))
        for curve in curves
    }


def measure_curve(curve: Curve) -> CurveNumbers:
    """Return means over draws, with intervals for other draws and other test subjects; see `stats.seeds`.

    The macro mean is over the findings that every draw of every share could fit, so that all points are of the same.
    """
    scored = [each.scores.findings for draws in curve.points.values() for each in draws]
    names = tuple(name for name in scored[0] if all(findings[name].is_defined for findings in scored))
    points = {f"{share:g}": _average(draws, names) for share, draws in curve.points.items()}
    return CurveNumbers(names, points)


def _average(draws: Sequence[Evaluation], names: Sequence[str]) -> SeedScores:
    found = [_measure(each, names) for each in draws]
    values_TLS = np.stack([values for values, _ in found], axis=2)
    samples_TLSR = np.stack([samples for _, samples in found], axis=2)
    scores = draws[0].scores
    rests_on = [scores.findings[name].auroc.num_rarer or 0 for name in names]
    macro = rarer_of_mean({name: scores.findings[name] for name in names})

    def conclude(values_TS: Floats, samples_TSR: Floats, num_rarer: int) -> SeedNumbers:
        mean = partial(average_seeds, level=scores.level)
        auroc, auprc = (mean(*pair).counted(num_rarer) for pair in zip(values_TS, samples_TSR, strict=True))
        return SeedNumbers(auroc, auprc)

    with np.errstate(invalid="ignore"):
        means = conclude(_mean(values_TLS), _mean(samples_TLSR), macro)
    findings = [conclude(values_TLS[:, k], samples_TLSR[:, k], num) for k, num in enumerate(rests_on)]
    return SeedScores(means, dict(zip(names, findings, strict=True)))


def _measure(evaluation: Evaluation, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Return both metrics of the named findings on the test films [T, L] and in resamples [T, L, R]."""
    predictions, probe = evaluation.predictions(), evaluation.settings.probe
    known = predictions.finding_names.tolist()
    columns = [known.index(name) for name in names]
    values_TL, samples_TLR = resample_metrics(
        predictions.logits[:, columns],
        predictions.labels[:, columns],
        predictions.subject_id,
        names,
        num_resamples=probe.num_resamples,
        seed=probe.seed,
    )
    return values_TL[:, 1:], samples_TLR[:, 1:]


def _mean(values_TLS: Floats) -> Floats:
    """Mean over findings, [T, L, ...] -> [T, ...]; nan without any, and in a resample over those defined in it."""
    is_defined = ~np.isnan(values_TLS)
    total, num = np.where(is_defined, values_TLS, 0.0).sum(axis=1), is_defined.sum(axis=1)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)


def _with_all_labels(settings: EvalSettings) -> EvalSettings:
    return replace(settings, probe=replace(settings.probe, fraction=None, draw=None))


def _place(evaluation: Evaluation) -> tuple[float, int]:
    probe = evaluation.settings.probe
    return probe.fraction or 1.0, probe.draw or 0


def least_labelled(draws: Sequence[Evaluation]) -> dict[str, int]:
    """Return by finding the subjects with it whose labels were drawn, in the draw with the fewest."""
    counts = [each.scores.train_pos_subjects for each in draws]
    return {name: min(each.get(name, 0) for each in counts) for name in counts[0]}


def show_range(mean: SeedMean) -> str:
    """Return the least and the largest value of the draws, as "0.612 to 0.640"; of one draw nothing."""
    return f"{min(mean.by_seed):.3f} to {max(mean.by_seed):.3f}" if len(mean.by_seed) > 1 else ""
