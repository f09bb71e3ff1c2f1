"""The figure of the README is a forest plot of the demo's study, made by this program."""

from __future__ import annotations

from pathlib import Path

import cxrssl
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.forest import Forest, ForestRow, ForestSection
from cxrssl.stats.resample import Interval
from tests.report.figures.svg import boxes_of, check_layout, texts_of

FIGURE = Path(cxrssl.__file__).parent / "manual" / "demo-forest.svg"
RUN, RIGHT, WRONG = "MSN (3cc91567)", "MSN + demo, view (018adfad)", "MSN + demo, view, shuffled (c0a82666)"
NUMBERS = {
    "untrained": {RUN: (0.086, 0.053, 0.122), RIGHT: (0.068, 0.032, 0.104), WRONG: (0.071, 0.041, 0.113)},
    "vanilla": {RIGHT: (-0.018, -0.052, 0.010), WRONG: (-0.015, -0.036, 0.009)},
    "pixels": {RUN: (-0.089, -0.119, -0.058), RIGHT: (-0.107, -0.138, -0.076), WRONG: (-0.103, -0.139, -0.072)},
    "shuffled record": {RIGHT: (-0.003, -0.031, 0.026)},
}
"""Paired differences in macro AUROC, as the report of the demo has them."""


def test_the_figure_is_what_the_program_draws_of_these_numbers() -> None:
    sections = tuple(
        ForestSection(
            f"Minus {minus}", tuple(ForestRow(name, Interval(*ends, 1000), "1") for name, ends in rows.items())
        )
        for minus, rows in NUMBERS.items()
    )
    forest = Forest(
        "Differences in macro AUROC: cohort demo, split official, 378 films of 128 test subjects",
        "Difference in macro AUROC",
        sections,
        "seeds",
        notes=("Intervals: 95% BCa bootstrap over subjects, 1,000 resamples.",),
    )
    drawn, shown = draw_figure(forest, "forest-demo-official-79c1d2", ["svg"])["svg"], FIGURE.read_bytes()
    assert texts_of(shown) == texts_of(drawn)
    for ours, theirs in zip(boxes_of(shown), boxes_of(drawn), strict=True):
        assert abs(ours.left - theirs.left) < 1
        assert abs(ours.top - theirs.top) < 1


def test_the_figure_is_small_and_whole() -> None:
    check_layout(FIGURE.read_bytes())
    assert FIGURE.stat().st_size < 30_000
