"""Runs as rows of values by field: what the filter language asks, what lists sort by, what JSON gives.

In: RunRecord, evaluations, notes. Out: plain mappings. Never: duckdb or polars, or a value that is a guess: what is not
known is left out.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cxrssl.cohort.features import GROUPS, parse_ehr
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import number_of
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import Evaluation, list_all_evaluations
from cxrssl.records.notes import RunNotes, read_notes
from cxrssl.records.reader import RunRecord, list_runs
from cxrssl.records.steps import NO_METRICS
from cxrssl.results.filter import Row, Value

NONE = "none"
"""What a run without a record, or with the right one, is found by: ehr:none, control:none."""


@dataclass(frozen=True)
class ListedRun:
    """A run and its values."""

    record: RunRecord
    notes: RunNotes
    values: Row


def list_rows(workspace: Workspace) -> tuple[list[ListedRun], list[Damage]]:
    """Return all runs of a workspace, the one that started last first, and what is damaged."""
    records, damage = list_runs(workspace)
    evaluations, of_evaluations = list_all_evaluations(workspace)
    by_run = scores_by_run(evaluations)
    now = time.time()
    rows = []
    for record in records:
        notes = read_notes(record.folder)
        rows.append(ListedRun(record, notes, row_of(record, notes, by_run.get(record.run_id, ()), now)))
    return rows, [*damage, *of_evaluations]


def scores_by_run(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    """Return the evaluations of runs by our own probe with all findings, films and labels, by run_id."""
    found: dict[str, list[Evaluation]] = {}
    for each in evaluations:
        if each.settings.kind == "run" and each.settings.probe.is_whole:
            found.setdefault(each.settings.candidate_id, []).append(each)
    return found


def row_of(record: RunRecord, notes: RunNotes, evaluations: Sequence[Evaluation], now: float) -> dict[str, Value]:
    """Return the values of a run; `now` is the time in Unix seconds."""
    about, facts, last = record.description, record.description.facts, record.tip[-1] if record.tip else {}
    values: dict[str, Value] = {
        "run": record.run_id,
        "state": record.state,
        "step": float(record.step),
        "cohort": about.cohort,
        "dataset": about.dataset,
        "split": about.split,
        "backbone": facts.model.backbone,
        "ehr": _words_of(record.ehr),
        "films": float(about.num_films),
        "tag": notes.tags,
        "archived": "yes" if notes.is_archived else "no",
        "imported": "yes" if record.imported else "no",
    }
    values |= {name: text for name, text in (("device", about.device), ("note", notes.note)) if text}
    values |= {name: number for name, number in _numbers_of(record, now).items() if not math.isnan(number)}
    values |= _recipe_values(about.recipe)
    values |= {field_name(key): number_of(value) for key, value in last.items() if key not in NO_METRICS}
    values |= {field_name(each.key): each.value for each in notes.added}
    return values | _score_values(record, evaluations)


def field_name(text: str) -> str:
    """Return the name of a metric or a finding as a field: without spaces."""
    return "_".join(text.split())


def known_fields(rows: Iterable[Row]) -> set[str]:
    """Return the fields that any row has; those that every run could have are among them."""
    usual = {"run", "state", "step", "progress", "ehr", "predict", "seed", "tag", "note", "auroc", "auprc", "loss"}
    return usual.union(*rows)


def sort_rows(rows: Sequence[ListedRun], field: str, is_descending: bool = False) -> list[ListedRun]:
    """Return the runs by a field; those that lack it come last, whichever the direction."""
    having = [row for row in rows if field in row.values and not _is_nan(row.values[field])]
    ordered = sorted(having, key=lambda row: _sort_key(row.values[field]), reverse=is_descending)
    return ordered + [row for row in rows if field not in row.values or _is_nan(row.values[field])]


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _sort_key(value: Value) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, " ".join(value).casefold() if isinstance(value, tuple) else str(value).casefold()


def _numbers_of(record: RunRecord, now: float) -> dict[str, float]:
    started, ended, seed = record.started_at, record.ended_at, record.description.facts.train.seed
    age = math.nan if started is None else max(now - started, 0.0)
    return {
        "num_steps": float(record.num_steps),
        "progress": min(record.step / record.num_steps, 1.0) if record.num_steps else math.nan,
        "left_s": record.left_s,
        "seed": math.nan if seed is None else float(seed),
        "started": math.nan if started is None else started,
        "ended": math.nan if ended is None else ended,
        "age": age,
    }


def _recipe_values(recipe: Mapping[str, Mapping[str, object]]) -> dict[str, Value]:
    """Return each setting of a recipe as `section.key`, and those of common use by their short name."""
    values: dict[str, Value] = {}
    for section, keys in recipe.items():
        for key, value in keys.items() if isinstance(keys, Mapping) else ():
            values[f"{section}.{key}"] = _value_of(value)
    ehr = recipe.get("ehr", {})
    predicted = ehr.get("predict", ())
    values["control"] = str(ehr.get("control", NONE))
    values["predict"] = _words_of(tuple(map(str, predicted)) if isinstance(predicted, list | tuple) else ())
    if name := recipe.get("objective", {}).get("name"):
        values["objective"] = str(name)
    return values


def _value_of(value: object) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return float(value) if isinstance(value, int | float) else str(value)


def _words_of(features: tuple[str, ...]) -> tuple[str, ...]:
    """Return the features and the groups that they make up; "none" for none."""
    groups = [group for group in GROUPS if set(_members(group)) <= set(features)]
    return (*features, *(group for group in groups if group not in features)) or (NONE,)


@functools.cache
def _members(group: str) -> tuple[str, ...]:
    with contextlib.suppress(UsageError):
        return parse_ehr(group)
    return ("",)


def _score_values(record: RunRecord, evaluations: Sequence[Evaluation]) -> dict[str, Value]:
    """Return the scores of a run: on its own cohort by finding too, on others or each of several with @ and the name.

    Of several on one cohort the one on the split that it was pretrained on there counts.
    """
    values: dict[str, Value] = {}
    about = record.description
    own_split = {each.cohort: each.split for each in about.cohorts}
    for each in sorted(evaluations, key=lambda each: each.settings.split == own_split.get(each.settings.cohort)):
        settings, scores = each.settings, each.scores
        is_own = settings.cohort == about.cohort
        end = "" if is_own else f"@{settings.cohort}"
        values[f"auroc{end}"], values[f"auprc{end}"] = scores.macro_auroc.value, scores.macro_auprc.value
        for name, finding in scores.findings.items() if is_own else ():
            values[f"auroc.{field_name(name)}"] = finding.auroc.value
            values[f"auprc.{field_name(name)}"] = finding.auprc.value
    return {name: value for name, value in values.items() if not _is_nan(value)}
