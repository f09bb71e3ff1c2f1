"""Learning curves as `cxrssl probe` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrssl.cli.lines import Part, Table
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.evaluate.learning import Curve
    from cxrssl.records.evaluation import Evaluation
    from cxrssl.records.learning import CurveNumbers


def list_curves(workspace: Workspace, evaluations: Sequence[Evaluation]) -> list[tuple[Curve, CurveNumbers]]:
    """Return the learning curves of these evaluations with their numbers, published where they were not."""
    from cxrssl.evaluate.learning import find_curves, name_curve, publish_curves
    from cxrssl.records.evaluation import list_all_evaluations

    wanted = [name_curve(each.settings) for each in evaluations]
    points = [each for each in list_all_evaluations(workspace)[0] if each.settings.probe.fraction is not None]
    curves = find_curves(evaluations, [each for each in points if name_curve(each.settings) in wanted])
    numbers = publish_curves(workspace, curves)
    return [(curve, numbers[curve.curve_id]) for curve in sorted(curves, key=lambda each: wanted.index(each.curve_id))]


def describe_curves(curves: Sequence[tuple[Curve, CurveNumbers]]) -> list[Part]:
    """Return learning curves: : scores by share of the labels, and the labelled subjects with each finding."""
    from cxrssl.evaluate.learning import least_labelled, show_range

    if not curves:
        return []
    head = ["", "labels", "train subjects", "draws", "macro AUROC", "of draws"]
    rows = []
    for curve, numbers in curves:
        for share, draws in curve.points.items():
            mean = numbers.points[f"{share:g}"].macro.auroc
            subjects = f"{draws[0].scores.num_train_subjects:,}" if share < 1 else "all"
            about = [plain(curve.settings.label, 60), f"{100 * share:g} %", subjects, f"{len(draws):,}"]
            rows.append([*about, mean.interval.to_text(), show_range(mean)])
    first, numbers = curves[0]
    by_share = {share: least_labelled(draws) for share, draws in first.points.items() if share < 1}
    shares = ["", *(f"{100 * share:g} %" for share in by_share)]
    counts = [
        [plain(name, 60), *(mark_few(least[name]) for least in by_share.values())]
        for name in next(iter(by_share.values()))
    ]
    over = f"Learning curve, mean over the {count_noun(len(numbers.findings), 'finding')} that every draw could fit:"
    whose = "Labelled train subjects with each finding, in the draw with the fewest:"
    numbers_right = range(1, len(shares))
    return ["", over, Table(head, rows, {1, 2, 3}), whose, Table(shares, counts, numbers_right)]


def mark_few(num: int) -> str:
    """Return a number of subjects, marked where it is so small that an interval is too narrow."""
    from cxrssl.stats.resample import FEW_SUBJECTS

    return f"{num} few" if 0 < num < FEW_SUBJECTS else f"{num:,}"
