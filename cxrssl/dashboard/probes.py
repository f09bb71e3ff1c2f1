"""An evaluation as the row that tables show, opened again only when one of its files has changed.

In: the folder of an evaluation. Out: ProbeRow, or what is damaged.
"""

from __future__ import annotations

from pathlib import Path

from cxrssl.core.errors import IntegrityError
from cxrssl.dashboard.state import FindingRow, ProbeRow
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND, Evaluation, open_evaluation
from cxrssl.records.file import Entry, list_entries


class ProbeFolder:
    """The folder of an evaluation and what has been read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: tuple[Entry, ...] | None = None
        self._read: ProbeRow | Damage = Damage(KIND, folder.name, "")

    def poll(self) -> ProbeRow | Damage:
        """Return the evaluation as it is published now."""
        try:
            entries = list_entries(self.folder)
        except OSError:
            entries = ()
        if entries != self._entries:
            self._entries = entries
            try:
                self._read = make_probe_row(open_evaluation(self.folder))
            except IntegrityError as error:
                self._read = Damage(KIND, self.folder.name, error.what)
        return self._read


def make_probe_row(evaluation: Evaluation) -> ProbeRow:
    """Return an evaluation as the dashboard shows it."""
    settings, scores = evaluation.settings, evaluation.scores
    return ProbeRow(
        eval_id=evaluation.eval_id,
        candidate_id=settings.candidate_id,
        kind=settings.kind,
        label=settings.label,
        cohort=settings.cohort,
        split=settings.split,
        auroc=scores.macro_auroc,
        auprc=scores.macro_auprc,
        num_films=scores.num_films,
        num_subjects=scores.num_subjects,
        is_outcome_used=settings.is_outcome_used,
        findings=tuple(
            FindingRow(name, score.auroc, score.auprc, score.num_pos, score.num_scored)
            for name, score in scores.findings.items()
        ),
        terms=settings.terms,
        method=scores.method,
    )
