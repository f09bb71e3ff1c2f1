"""What `cxrssl probe` prints of encoders beside their baselines: paired differences, and what does not beat pixels."""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.cli.options import align
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import REFERENCES, Group, describe_against_pixels, publish_comparisons
from cxrssl.records.evaluation import JOINED, PIXELS, Evaluation


def describe_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the row of an evaluation: its label, macro AUROC, where it was matched that too, strength of the probe."""
    scores = evaluation.scores
    matched = [scores.matched_text] if scores.macro_matched else []
    return evaluation.settings.label, scores.macro_auroc.to_text(), *matched, f"C {scores.strength_text or 'none'}"


def describe_differences(workspace: Workspace, evaluations: Sequence[Evaluation]) -> list[str]:
    """Return lines on by how much each encoder is better than each of its references among these evaluations."""
    group = list(evaluations)
    encoders = [each for each in group if each.settings.kind in ("run", "external", JOINED)]
    return [line for each in encoders for line in _describe(workspace, each, group)]


def _describe(workspace: Workspace, evaluation: Evaluation, group: Group) -> list[str]:
    found = {name: other for name, find in REFERENCES.items() if (other := find(evaluation, group)) is not None}
    published = publish_comparisons(workspace, [(evaluation, other) for other in found.values()])
    rows, notes, label = [], [], evaluation.settings.label
    for name, other in found.items():
        difference = published[evaluation.eval_id, other.eval_id]
        if isinstance(difference, str):
            rows.append((name, difference))
            continue
        rows.append((name, difference.macro_auroc.to_text(signed=True)))
        if name == PIXELS:
            notes.append(describe_against_pixels(label, difference.macro_auroc))
    return [f"Macro AUROC of {label} minus that of:", *align(rows), *filter(None, notes)] if rows else []
