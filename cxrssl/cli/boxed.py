"""Where probes of patches look, in the lines of `cxrssl probe`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cxrssl.cli.lines import Part, Table
from cxrssl.core.text import count_noun, plain
from cxrssl.records.boxes import BoxScores, find_box_scores
from cxrssl.records.evaluation import Evaluation

EXPLAINED = (
    "share: of the positive patch scores, in the box; area: of the film, in the box, which chance would give;",
    "pointing: films whose highest patch has its centre in the box. A film counts for each finding with a box.",
)
HEADER = ("", "films", "subjects", "share", "area", "share - area", "pointing")


def describe_boxes(evaluations: Sequence[Evaluation]) -> list[Part]:
    """Return for each probe of patches how much of what it sees lies in the boxes of test films."""
    found = [(each.settings.label, find_box_scores(each.path)) for each in evaluations]
    parts = [part for label, scores in found if scores for part in _describe(label, scores)]
    return [*parts, *(EXPLAINED if any(scores.scores for _, scores in found if scores) else ())]


def summarise_boxes(evaluation: Evaluation) -> dict[str, Any]:
    """Return the same as JSON; nothing of a probe that sees no patches."""
    scores = find_box_scores(evaluation.path)
    return {"boxes": scores.to_dict()} if scores else {}


def _describe(label: str, scores: BoxScores) -> Iterator[Part]:
    shown = plain(label, 80)
    if scores.num_unread:
        yield f"{count_noun(scores.num_unread, 'line')} of {scores.file} without a box of a known finding left out."
    if not scores.scores:
        yield f"Where {shown} looks: no scored film has a box of a fitted finding in {scores.file}."
        return
    yield ""
    yield f"Where {shown} looks, on test films with boxes of {scores.file}:"
    rows: list[Sequence[str]] = []
    for each in scores.scores:
        counts = f"{each.num_films:,}", f"{each.num_subjects:,}"
        share = each.share.to_text(), f"{each.area:.3f}", each.share_minus_area.to_text(signed=True)
        rows.append((plain(each.finding, 60) or "all boxes", *counts, *share, each.pointing.to_text()))
    yield Table(HEADER, rows, {1, 2})
