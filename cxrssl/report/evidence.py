"""What a workspace holds, as the answers of a checklist need it: cohorts with their accounts, runs, evaluations.

In: a workspace. Out: Evidence. Never: a cohort that cannot be read in the way of one that can.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import KIND as IMAGES
from cxrssl.records.eval_settings import HEAD, JOINED
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.published import Published
from cxrssl.records.reader import RunRecord
from cxrssl.report.small import SmallCells

ENCODERS = ("run", HEAD, "external", JOINED)


@dataclass(frozen=True)
class Evidence:
    """What answers are made of."""

    workspace: Workspace
    published: Published
    cohorts: dict[str, Cohort]
    """Those that something was scored on or trained on, and that can be read; each has a subject in one split only."""
    packs: dict[str, dict[str, Any]]
    """Settings of the packed films of these cohorts."""
    small: SmallCells

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        return self.published.evaluations

    @property
    def encoders(self) -> list[Evaluation]:
        """Evaluations of trained encoders."""
        return [each for each in self.evaluations if each.settings.kind in ENCODERS]

    def name_run(self, run_id: str) -> str:
        """Return how tables call a run, its id where nothing of it was scored."""
        scored = (each for each in self.evaluations if each.settings.run_id == run_id)
        return next((each.settings.label for each in scored if each.settings.kind in ("run", HEAD)), run_id)

    @property
    def runs(self) -> list[RunRecord]:
        """Runs that were scored; all where none was."""
        scored = {each.settings.run_id for each in self.evaluations}
        return [run for run in self.published.runs if run.run_id in scored] or list(self.published.runs)


def read_evidence(workspace: Workspace, published: Published, small: SmallCells) -> Evidence:
    """Return the evidence of a workspace; what cannot be read is not among them."""
    used = {each.settings.cohort for each in published.evaluations}
    used |= {name for run in published.runs for name in run.description.cohort_names}
    cohorts, packs = {}, {}
    for name in workspace.cohort_names():
        if name not in used:
            continue
        with contextlib.suppress(CxrsslError):
            cohorts[name] = open_cohort(workspace.cohorts / name)
        with contextlib.suppress(CxrsslError):
            packs[name] = open_artefact(workspace.images / name, IMAGES, verify=False).settings
    return Evidence(workspace, published, cohorts, packs, small)
