"""What an evaluation will be, decided before anything is computed: which rows, which labels, under which settings.

In: a candidate, an open and packed cohort, the settings of a probe. Out: EvalPlan, the one thing under every way of
evaluating. Never: a row whose film is not packed, a train or val row whose film a later split shows too, or a candidate
that the audit refuses, unless that is allowed: then the settings carry the leak and every report repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Audit
from cxrssl.audit.gate import audit_candidate, leave_out_twins
from cxrssl.audit.looks import join_look_alikes
from cxrssl.audit.pretraining import TRANSDUCTIVE, rows_scored
from cxrssl.cohort.condition import hide_values
from cxrssl.cohort.labelled import draw_subjects
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.text import shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import JOINED, SELECTED_ON_TEST, EvalSettings, ProbeSettings, check_folds
from cxrssl.records.eval_settings import TRANSDUCTIVE as TRANSDUCTIVE_LABEL
from cxrssl.records.reading import CLS, Reading, parse_reading

PROTOCOL_VERSION = 7
"""Raise it when the way of fitting or scoring changes: evaluations are then made again."""
FOLDS_VERSION = 9
"""The same of evaluations with folds."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EvalPlan:
    """One evaluation that has not been made yet."""

    eval_id: str
    path: Path
    """Where it is published."""
    settings: EvalSettings
    cohort: Cohort
    images: ImageStore
    rows: Mapping[str, Rows]
    """Rows of the cohort by split; with folds, all that are packed under "test"."""
    num_twins_left_out: dict[str, int]
    """Packed films by split that a later split shows too."""
    num_not_packed: int
    """Test films that could not be decoded."""
    group_N: NDArray[np.int64] | None = None
    """With folds, equal numbers for the test films that one fold must hold together."""
    num_left_out: dict[str, int] = field(default_factory=dict)
    """Packed films by split that do not meet the condition of the settings; empty without one."""
    dropped: Mapping[str, Rows] = field(default_factory=dict)
    """Rows by split that do not fill the last batch, where a protocol leaves them out."""

    @property
    def findings(self) -> list[str]:
        return list(self.settings.probe.findings or map(str, self.cohort.finding_names))

    @property
    def reading(self) -> Reading:
        """Which features of an encoder are read; a candidate without an encoder has the default."""
        return parse_reading(self.settings.candidate.read or CLS.name)

    @property
    def is_chosen_in_train(self) -> bool:
        """Whether folds of the train films choose the strength, and val has no part in it."""
        return self.settings.candidate.chosen_by is not None

    @property
    def num_joined(self) -> int:
        """Columns of the record at the end of the features, where it is joined to an encoder; else 0."""
        settings = self.settings
        return len(self.cohort.feature_columns(settings.features)) if settings.kind == JOINED else 0

    def labels(self) -> NDArray[np.int8]:
        """Return the labels of all rows of the cohort, [N, L], as the probe's settings count them."""
        probe = self.settings.probe
        return self.cohort.labels(self.findings, probe.uncertain, probe.blank, probe.uncertain_by or ())


def plan_evaluation(
    workspace: Workspace,
    candidate: Candidate,
    cohort: Cohort,
    images: ImageStore,
    scheme: str,
    probe: ProbeSettings,
    may_overlap: bool = False,
    is_kept_N: NDArray[np.bool_] | None = None,
) -> EvalPlan:
    """Return the plan to evaluate a candidate on a split of a cohort.

    Films that are not kept take no part in it; None keeps all. With folds every packed film is scored, whatever the
    split. A run that saw them in pretraining is then not refused but called
    transductive, as it saw no label of them.

    Raises: LeakageError when the audit of the candidate refuses, unless `may_overlap`. DataError when there is no film
    to fit on or to score; without one to choose on, the strength is the middle one, and the scores say so.
    """
    check_folds(probe.folds)
    scheme = probe.split_name or scheme
    is_kept_N = np.ones(len(cohort), np.bool_) if is_kept_N is None else is_kept_N
    group_N = None
    if probe.folds:
        all_packed = np.flatnonzero(images.is_packed_N)
        test = all_packed[is_kept_N[all_packed]]
        packed = rows = {"train": test[:0], "val": test[:0], "test": test}
        num_left_out = {"test": len(all_packed) - len(test)}
        group_N = join_look_alikes(cohort, images, test)
    else:
        in_split = {split: _packed_rows(cohort, images, split, scheme) for split in SPLITS}
        packed = {split: _kept_rows(cohort, each, split, probe, is_kept_N) for split, each in in_split.items()}
        rows = {split: leave_out_twins(cohort, images, scheme, packed[split]) for split in SPLITS}
        num_left_out = {split: len(in_split[split]) - len(packed[split]) for split in SPLITS}
    audit = audit_candidate(
        candidate.kind, candidate.settings.features or (), candidate.pretraining, cohort, images, scheme
    )
    leak = describe_leaks(audit)
    if leak and not may_overlap:
        raise LeakageError(leak, candidate.candidate_id, _describe_ways_out(candidate, audit, probe))
    num_twins_left_out = {split: len(packed[split]) - len(rows[split]) for split in SPLITS}
    if probe.fraction is not None:
        rows["train"] = draw_labelled(cohort, rows["train"], probe)
    settings = _make_settings(candidate, cohort, images, scheme, probe, audit)
    eval_id = f"{candidate.candidate_id}-on-{cohort.name}-{scheme}-{hash_settings(settings.to_dict())[:8]}"
    num_not_packed = int(is_kept_N[rows_scored(cohort, scheme)].sum()) - len(rows["test"])
    rows, dropped = drop_last(rows, probe, cohort)
    return EvalPlan(
        eval_id=eval_id,
        path=workspace.evals / eval_id,
        settings=settings,
        cohort=cohort,
        images=images,
        rows=rows,
        num_twins_left_out=num_twins_left_out,
        num_not_packed=num_not_packed,
        group_N=group_N,
        num_left_out=num_left_out if probe.where else {},
        dropped=dropped,
    )


def drop_last(rows: dict[str, Rows], probe: ProbeSettings, cohort: Cohort) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """Return the rows without the last val and test films that do not fill a batch, and those, if a probe drops them.

    Raises: DataError when they do not fill one batch.
    """
    if probe.drop_batch is None:
        return rows, {}
    ends = {split: len(rows[split]) - len(rows[split]) % probe.drop_batch for split in ("val", "test")}
    for split, end in ends.items():
        if len(rows[split]) and not end:
            what = f"protocol {probe.protocol} leaves out the last {split} films that do not fill a batch of "
            raise DataError(f"{what}{probe.drop_batch}, and there are {len(rows[split])} in all", cohort.folder)
    kept = {split: rows[split][: ends.get(split, len(rows[split]))] for split in rows}
    return kept, {split: rows[split][end:] for split, end in ends.items()}


def draw_labelled(cohort: Cohort, rows: Rows, probe: ProbeSettings) -> Rows:
    """Return the rows of a drawn share of their subjects, one at least; see `draw_subjects`."""
    assert probe.fraction is not None, "a share of the labels"
    return rows[draw_subjects(cohort.subject_id[rows], probe.fraction, probe.seed, probe.draw or 0)]


def describe_leaks(audit: Audit) -> str:
    """Return what refuses as one sentence, and "" when nothing does."""
    return "; ".join(result.finding for result in audit.refusals)


def _describe_ways_out(candidate: Candidate, audit: Audit, probe: ProbeSettings) -> str:
    """Return what can be done about a leak; a run that saw films without their labels may be scored by folds."""
    saw = all(each.code.startswith("pretrained-on-") for each in audit.refusals)
    is_unlabelled = saw and candidate.pretraining is not None and not candidate.pretraining.may_know_labels
    folds = "; or score all films by folds, which reports call transductive: --folds 5"
    return f"{audit.refusals[0].hint}{folds if is_unlabelled and not probe.folds else ''}; or --allow-overlap"


def _make_settings(
    candidate: Candidate, cohort: Cohort, images: ImageStore, scheme: str, probe: ProbeSettings, audit: Audit
) -> EvalSettings:
    transductive = "; ".join(result.finding for result in audit.findings if result.code == TRANSDUCTIVE)
    return EvalSettings(
        candidate_id=candidate.candidate_id,
        kind=candidate.kind,
        label=candidate.label
        + (TRANSDUCTIVE_LABEL if transductive else "")
        + (SELECTED_ON_TEST if probe.selected_on == "test" and candidate.encoder is not None else ""),
        candidate=candidate.settings,
        is_outcome_used=candidate.is_outcome_used,
        leak=describe_leaks(audit),
        transductive=transductive,
        cohort=cohort.name,
        dataset=cohort.dataset,
        link=cohort.link,
        split=scheme,
        cohort_sha256=cohort.content_sha256,
        images_sha256=images.content_sha256,
        protocol_version=FOLDS_VERSION if probe.folds else PROTOCOL_VERSION,
        probe=probe,
    )


def _packed_rows(cohort: Cohort, images: ImageStore, split: str, scheme: str) -> Rows:
    rows: Rows = cohort.rows_of(split, scheme)
    rows = rows[images.is_packed_N[rows]]
    if not len(rows) and split != "val":
        what = f"cohort {cohort.name} has no packed {split} film in split {scheme}"
        raise DataError(
            what, cohort.folder, "choose another --split, or make one of your own: cxrssl ingest with --split-file"
        )
    return rows


def _kept_rows(cohort: Cohort, rows: Rows, split: str, probe: ProbeSettings, is_kept_N: NDArray[np.bool_]) -> Rows:
    kept = rows[is_kept_N[rows]]
    if len(rows) and not len(kept) and split != "val":
        what = f"no {split} film of cohort {cohort.name} meets --where {shell_word(hide_values(probe.where or ''))}"
        raise DataError(what, cohort.folder, "ask for more films, or choose another --split")
    return kept
