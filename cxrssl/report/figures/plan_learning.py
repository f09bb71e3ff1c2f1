"""Learning curves of a report: macro scores over the share of the labels, as means over draws.

In: curves with their published numbers. Out: Plans. Never: a number of subjects that tables hide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.learning import Curve
from cxrssl.records.learning import CurveNumbers
from cxrssl.report.document import file_stem
from cxrssl.report.figures.ink import SERIES
from cxrssl.report.figures.lines import Line, LineFigure, LinePanel
from cxrssl.report.figures.plan import Material, Plan, hash_drawn, keep, round_number
from cxrssl.report.figures.terms import hash_terms
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.stats.seeds import SeedMean

METRICS = {"auroc": "Macro AUROC", "auprc": "Macro AUPRC"}


def plan_learning(material: Material) -> list[Plan]:
    """Return the learning curves of a report, those on equal terms in one figure."""
    by_terms = groupby(material.curves, key=lambda curve: curve.settings.terms)
    return [plan for _, group in by_terms for plan in _plan_curves(list(group), material)]


def _plan_curves(curves: Sequence[Curve], material: Material) -> Iterator[Plan]:
    num_pages = -(-len(curves) // len(SERIES))
    for number in range(num_pages):
        shown = curves[number * len(SERIES) : (number + 1) * len(SERIES)]
        part = f" ({number + 1} of {num_pages})" if num_pages > 1 else ""
        settings = shown[0].settings
        where = f"cohort {settings.cohort}, split {settings.split}{part}"
        panels = tuple(
            LinePanel(title, tuple(_make_line(k, curve, metric, material) for k, curve in enumerate(shown)))
            for metric, title in METRICS.items()
        )
        shares = sorted({share for curve in shown for share in curve.points})
        figure = LineFigure(
            title=f"Learning curves: {where}",
            names=tuple(plain(curve.settings.label, 200) for curve in shown),
            x_label="Share of the train subjects that is labelled",
            panels=panels,
            ticks=tuple(shares),
            tick_labels=tuple(f"{100 * share:g} %" for share in shares),
            has_marks=True,
            notes=(_describe(shown[0], material),),
        )
        caption = f"Macro scores over the share of the train subjects that is labelled, on {where}."
        alt = f"{figure.title}. {_list_numbers(shown, material)}"
        name = file_stem(f"learning-{settings.cohort}-{settings.split}-{hash_terms(settings)}")
        name = f"{name}-{number + 1}" if num_pages > 1 else name
        yield Plan(name, caption, alt, hash_drawn(figure, caption, alt), partial(keep, figure))


def _make_line(number: int, curve: Curve, metric: str, material: Material) -> Line:
    means = {share: _find(curve, share, metric, material) for share in curve.points}
    dots = [(share, value) for share, mean in means.items() if len(mean.by_seed) > 1 for value in mean.by_seed]

    def rounded(values: Iterator[float]) -> tuple[float, ...]:
        return tuple(map(round_number, values))

    return Line(
        series=number,
        x=tuple(means),
        y=rounded(mean.value for mean in means.values()),
        low=rounded(mean.lo for mean in means.values()),
        high=rounded(mean.hi for mean in means.values()),
        is_few=tuple(mean.interval.mark in ("few", "no interval") for mean in means.values()),
        dots=tuple((share, round_number(value)) for share, value in dots if not math.isnan(value)),
    )


def _find(curve: Curve, share: float, metric: str, material: Material) -> SeedMean:
    numbers: CurveNumbers = material.numbers[curve.curve_id]
    mean: SeedMean = getattr(numbers.points[f"{share:g}"].macro, metric)
    return mean


def _describe(curve: Curve, material: Material) -> str:
    """Return what the points are, and of how many subjects."""
    subjects = _count_subjects(curve, material.small)
    draws = max(len(draws) for draws in curve.points.values())
    return (
        f"Means over {count_noun(draws, 'draw')} of the labelled subjects (dots: single draws), over the "
        f"{count_noun(len(material.numbers[curve.curve_id].findings), 'finding')} that every draw could fit. Bands: "
        f"95% intervals for other draws and other test subjects; of one draw, for other test subjects alone. "
        f"Open marks: few subjects with a finding. Train subjects: {subjects}."
    )


def _count_subjects(curve: Curve, small: SmallCells) -> str:
    nums = {share: draws[0].scores.num_train_subjects for share, draws in curve.points.items() if share < 1}
    shown = hide_small([Count(num) for num in nums.values()], small=small)
    parts = [f"{num:,} ({100 * share:g} %)" for share, num in zip(nums, shown, strict=True)]
    return ", ".join([*parts, *(["all (100 %)"] if 1.0 in curve.points else [])])


def _list_numbers(curves: Sequence[Curve], material: Material) -> str:
    parts = []
    for curve in curves:
        means = {share: _find(curve, share, "auroc", material) for share in curve.points}
        shown = ", ".join(f"{100 * share:g} % {mean.interval.to_text()}" for share, mean in means.items())
        parts.append(f"{plain(curve.settings.label, 120)}: {shown}")
    return plain(f"Macro AUROC of {'; '.join(parts)}.", 4000)
