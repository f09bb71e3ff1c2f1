"""The exclusion flow of a cohort: how many films each step left, and why the others are gone, as a table and a figure.

In: a published cohort, its packed films, evaluations on it. Out: a Flow, whose every step accounts for all films of the
step before it. Never: a film that vanished without a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import SPLITS, Cohort, open_cohort
from cxrssl.core.artefact import read_unexchanged
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace
from cxrssl.images.index import read_rejects
from cxrssl.images.store import open_images
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.evaluation import NOT_SCORED, Evaluation
from cxrssl.report.cells import Cell
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.report.tables import ReportTable

Reasons = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class FlowStep:
    """Films left at a step, and why the others of the step before are not."""

    what: str
    films: int
    reasons: Reasons = ()
    subjects: int | None = None
    """Whose films they are, where that is shown."""

    @property
    def detail(self) -> str:
        """Such as "12 subjects"; empty where it is not shown."""
        return "" if self.subjects is None else count_noun(self.subjects, "subject")

    @property
    def counts(self) -> list[Count]:
        """The numbers of the step, in the order of `with_counts`."""
        subjects = [] if self.subjects is None else [Count(self.subjects)]
        return [Count(self.films, self.subjects), *subjects, *(Count(num) for _, num in self.reasons)]

    def with_counts(self, numbers: Iterator[int]) -> FlowStep:
        """Return the step with its numbers taken from the iterator."""
        films = next(numbers)
        subjects = None if self.subjects is None else next(numbers)
        return FlowStep(self.what, films, tuple((what, next(numbers)) for what, _ in self.reasons), subjects)


@dataclass(frozen=True)
class Flow:
    title: str
    steps: tuple[FlowStep, ...]
    """One after the other."""
    parts: tuple[tuple[FlowStep, ...], ...]
    """The splits side by side, each with the steps that follow it."""

    def check(self) -> None:
        """Assert that every film is in the next step or has a reason."""
        for before, after in (pair for chain in (self.steps, *self.parts) for pair in pairwise(chain)):
            assert before.films == after.films + sum(num for _, num in after.reasons), f"{after.what}: films vanish"
        in_parts = sum(part[0].films for part in self.parts)
        assert not self.parts or self.steps[-1].films == in_parts, "splits divide films"

    def hide_small(self, small: SmallCells) -> Flow:
        """Return the flow with its small cells hidden: the numbers of its steps tell each other, so all stand together.

        Films of a reason are counted, not their subjects: of rows that were rejected it is not known whose they are.
        """
        chains = (self.steps, *self.parts)
        counts = [count for chain in chains for step in chain for count in step.counts]
        numbers = iter(hide_small(counts, small=small))
        hidden = [tuple(step.with_counts(numbers) for step in chain) for chain in chains]
        return Flow(self.title, hidden[0], tuple(hidden[1:]))

    def to_table(self) -> ReportTable:
        """Return one row a step, with one row for each reason before it."""
        rows: list[list[Cell]] = []
        for step in (*self.steps, *(step for part in self.parts for step in part)):
            rows += [[f"without: {reason}", -num if num else "-0"] for reason, num in step.reasons]
            rows.append([f"{step.what} ({step.detail})" if step.detail else step.what, step.films])
        return ReportTable(self.title, ("Step", "Films"), rows)


def cohort_flow(workspace: Workspace, name: str, scheme: str = "", evaluations: Sequence[Evaluation] = ()) -> Flow:
    """Return the flow of a cohort under a split (empty: its default), to the films that `evaluations` used."""
    cohort = open_cohort(workspace.cohorts / name)
    return follow_films(workspace, cohort, scheme or cohort.default_split, evaluations)


def follow_films(workspace: Workspace, cohort: Cohort, scheme: str, evaluations: Sequence[Evaluation]) -> Flow:
    """Return the flow of an open cohort under a split, to the films that `evaluations` used.

    One of another state of the cohort, or of its packed films, scored other films than these.
    """
    is_left, steps = _ingested(cohort)
    path, images_sha256 = workspace.images / cohort.name, ""
    found = read_unexchanged(
        path, lambda: (open_images(path, verify=False), read_rejects(path)) if path.is_dir() else ()
    )
    images, rejects = found or (None, [])
    # A pack of an older state of the cohort says nothing of these films.
    if images is not None and images.cohort_sha256 == cohort.content_sha256:
        is_left, images_sha256 = images.is_packed_N, images.content_sha256
        steps.append(
            FlowStep(
                "films packed",
                int(is_left.sum()),
                tuple(Counter(reject.rule for reject in rejects).most_common()),
            )
        )
    split = cohort.split_of(scheme)
    has_split = is_left & np.isin(split, SPLITS)
    if not np.array_equal(is_left, has_split):
        reason = f'in no split of "{scheme}"', int(is_left.sum() - has_split.sum())
        steps.append(FlowStep("films with a split", int(has_split.sum()), (reason,)))
    key = cohort.name, scheme, cohort.content_sha256, images_sha256
    whole = [each for each in evaluations if each.settings.probe.is_whole and not each.imported]
    used = [each for each in whole if _scored_on(each.settings) == key]
    parts = tuple(_follow(cohort, np.flatnonzero(has_split & (split == part)), part, used) for part in SPLITS)
    flow = Flow(f"Films of cohort {cohort.title}, split {scheme}", tuple(steps), parts)
    flow.check()
    return flow


def _scored_on(settings: EvalSettings) -> tuple[str, str, str, str]:
    """Return the cohort and the split that were scored, and the state of both that cohort and its packed films."""
    return settings.cohort, settings.split, settings.cohort_sha256, settings.images_sha256


def _ingested(cohort: Cohort) -> tuple[NDArray[np.bool_], list[FlowStep]]:
    first, *later = cohort.summary["flow"]
    lefts = [int(films) for _, films in cohort.summary["flow"]]
    reasons = [(str(what).removeprefix("without: "), lefts[k] - lefts[k + 1]) for k, (what, _) in enumerate(later)]
    steps = [FlowStep(str(first[0]), lefts[0]), FlowStep("films in the cohort", len(cohort), tuple(reasons))]
    return np.ones(len(cohort), bool), steps


def _follow(
    cohort: Cohort, rows: NDArray[np.int64], part: str, evaluations: Sequence[Evaluation]
) -> tuple[FlowStep, ...]:
    """Return the films of a split, and those that a probe was fitted on, its strength was chosen on, or it scored."""
    step = FlowStep(part, len(rows), subjects=len(np.unique(cohort.subject_id[rows])))
    if not evaluations:
        return (step,)
    latest = evaluations[-1]
    if part == "test":
        num_blank = int((latest.predictions().labels == NOT_SCORED).all(axis=1).sum())
        reasons, what = (("no label that counts", num_blank),), "scored"
    else:
        num_twins = latest.scores.num_twins_left_out.get(part, 0)
        reasons, what = (("shown in a later split too", num_twins),), "fitted on" if part == "train" else "chosen on"
    left = len(rows) - sum(num for _, num in reasons)
    return step, FlowStep(what, left, tuple(reason for reason in reasons if reason[1]))
