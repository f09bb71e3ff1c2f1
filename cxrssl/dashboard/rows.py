"""Runs, evaluations and ablations as the rows that tables show.

In: RunRecord, Evaluation, AblationTable. Out: RunRow, ProbeRow, AblationRow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrssl.cohort.features import is_outcome_used
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import number_of
from cxrssl.core.text import plain
from cxrssl.dashboard.state import AblationRow, FindingRow, Measure, ProbeRow, RunRow
from cxrssl.records.ablation import AblationTable
from cxrssl.records.contract import Contract
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.reader import RunRecord
from cxrssl.records.tail import Record
from cxrssl.results.listing import field_name


def make_run_row(record: RunRecord) -> RunRow:
    """Return a run as the dashboard shows it."""
    about, facts, last = record.description, record.description.facts, record.tip[-1] if record.tip else {}
    return RunRow(
        run_id=record.run_id,
        state=record.state,
        step=record.step,
        num_steps=record.num_steps,
        left_s=record.left_s,
        loss=number_of(last.get("loss")) if last else None,
        films_per_s=number_of(last.get("films_per_s")),
        ehr=record.ehr,
        seed="" if facts.train.seed is None else str(facts.train.seed),
        started_at=record.started_at,
        logged_at=last.get("ts"),
        is_outcome_used=_outcome_used(record.ehr),
        cohort=about.cohort,
        dataset=about.dataset,
        split=about.split,
        members=tuple((each.cohort, each.split) for each in about.members or ()),
        num_films=about.num_films,
        backbone=facts.model.backbone,
        device=about.device,
        trouble=_last_of(record, {"fail", "guard", "damage"}) if record.state != "finished" else "",
        alarm=_last_of(record, {"alarm"}),
        imported=record.imported.sentence if record.imported else "",
        objective=about.objective,
        recipe=flatten_recipe(about.recipe),
    )


def epoch_of(run: RunRow) -> int:
    """Return the epoch that a run is in, from 0; that of its last step when it is done."""
    text = run.recipe.get("train.num_epochs", "")
    num_epochs = int(text) if text.isdecimal() else 0
    return min(int(run.frac * num_epochs), num_epochs - 1) if run.num_steps and num_epochs else 0


def add_measures(
    run: RunRow, measures: Mapping[str, Measure], trend: tuple[float, ...], own: tuple[ProbeRow, ...]
) -> RunRow:
    """Return a run with its measures, the trend of the chosen metric and the macro AUROC of its own probe."""
    best = {f"best.{field_name(name)}": each.best(name) for name, each in measures.items()}
    known = {name: value for name, value in best.items() if not math.isnan(value)}
    found = replace(run, measures=measures, trend=trend, fields={**run.fields, **known})
    return _with_auroc(found, own)


def _with_auroc(run: RunRow, probes: tuple[ProbeRow, ...]) -> RunRow:
    """Add the macro AUROC of the run's own probe on the cohort and split it was pretrained on; of several none."""
    own = [probe for probe in probes if (probe.cohort, probe.split) in run.places and probe.is_whole]
    if not own:
        return run
    defined = [probe.auroc for probe in own if not math.isnan(probe.auroc.value) and not run.members]
    is_outcome_used = run.is_outcome_used or any(probe.is_outcome_used for probe in own) or run.is_outcome_used
    value, mark = (defined[-1].value, defined[-1].mark) if defined else (math.nan, "")
    return replace(run, macro_auroc=value, macro_mark=mark, is_outcome_used=is_outcome_used)


def flatten_recipe(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a recipe as "section.name" and text; what is no table of settings is left out."""
    sections = {name: values for name, values in recipe.items() if isinstance(values, Mapping)}
    return {f"{name}.{key}": value_text(value) for name, values in sections.items() for key, value in values.items()}


def value_text(value: Any) -> str:
    """Return a setting as a recipe file writes it, lists without brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
        imported=evaluation.imported.sentence if evaluation.imported else "",
        is_whole=settings.probe.is_whole,
        folds=settings.probe.folds,
    )


def _outcome_used(names: tuple[str, ...]) -> bool | None:
    """Return None when no outcome is among the features, but one that this version does not know."""
    is_known = True
    for name in names:
        try:
            if is_outcome_used((name,)):
                return True
        except UsageError:
            is_known = False
    return False if is_known else None


def _last_of(record: RunRecord, names: set[str]) -> str:
    """Return the text of the last event of these names, "" if the run was started again after it."""
    for event in reversed(record.events):
        if event["event"] == "start":
            return ""
        if event["event"] in names:
            return _describe_event(event)
    return ""


def _describe_event(event: Record) -> str:
    step = f" at step {plain(event['step'], 20)}" if "step" in event else ""
    what = plain(event.get("what", ""), 300)
    return f"{event['event']}{step}" + (f": {what}" if what else "")


def make_ablation_row(
    name: str, contract: Contract, table: AblationTable | None, runs: Sequence[RunRow]
) -> AblationRow:
    """Return an ablation with what has been done of it."""
    num_finished = sum(run.state == "finished" and run.run_id in contract.runs for run in runs)
    row = AblationRow(name, tuple(contract.runs), num_finished)
    if table is None:
        return row
    difference = None if table.primary is None else table.number_of(table.primary).interval
    return replace(row, primary=table.describe_primary(), difference=difference)
