"""What `cxrssl probe` prints of an evaluation beside its baselines: paired differences, and what it does not beat."""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.cli.options import align
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import REFERENCES, describe_against_pixels, publish_comparisons
from cxrssl.records.evaluation import PIXELS, Evaluation


def describe_differences(workspace: Workspace, evaluations: Sequence[Evaluation]) -> list[str]:
    """Return lines on by how much the first evaluation is better than each of its references among the others."""
    first, group = evaluations[0], list(evaluations)
    found = {name: other for name, find in REFERENCES.items() if (other := find(first, group)) is not None}
    published = publish_comparisons(workspace, [(first, other) for other in found.values()])
    rows, notes = [], []
    for name, other in found.items():
        difference = published[first.eval_id, other.eval_id]
        if isinstance(difference, str):
            rows.append((name, difference))
            continue
        rows.append((name, difference.macro_auroc.to_text(signed=True)))
        if name == PIXELS:
            notes.append(describe_against_pixels(first.settings.label, difference.macro_auroc))
    return [f"Macro AUROC of {first.settings.label} minus that of:", *align(rows), *filter(None, notes)] if rows else []
