"""The rows of every table of the store that come from what was published: evaluations, comparisons, groups, ablations.

In: what is published. Out: rows by table. Never: a journal, or text that UTF-8 cannot hold.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cxrssl.core.text import valid
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import name_pinned
from cxrssl.evaluate.groups import SeedGroup, group_seeds
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.ablation import METRICS as ABLATION_METRICS
from cxrssl.records.ablation import Ablation, ArmRow, DifferenceRow
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.file import list_entries
from cxrssl.records.group import KIND as GROUP
from cxrssl.records.published import Published, list_manifest
from cxrssl.records.run import KIND as RUN
from cxrssl.records.setup import Setup
from cxrssl.results.group_rows import matched_rows, subgroup_rows
from cxrssl.results.rows import decoding_rows, difference_rows, group_of, result_rows, seed_rows
from cxrssl.results.run_rows import Rows, artefact_row, damage_rows, imported_rows

PUBLISHED_TABLES = (
    "evaluation", "eval_result", "matched", "subgroup", "decoding", "comparison", "seed_mean", "ablation",
)  # fmt: skip
"""Hold nothing but what is made here; `damage`, `imported` and `artefact` have rows of runs too."""

TOLD = ("candidate_id", "kind", "label", "cohort", "split", "dataset")


def published_rows(workspace: Workspace, published: Published, setups: Mapping[str, Setup]) -> dict[str, Rows]:
    """Return the rows of what is published, by table; `setups` are those of the runs."""
    by_seed = group_seeds(published.evaluations, setups)
    groups, names = group_of(by_seed), name_pinned(by_seed)
    all_evaluations = [*published.evaluations, *published.points]
    return {
        "evaluation": (_evaluation_row(each, groups.get(each.eval_id)) for each in all_evaluations),
        "eval_result": (vars(row) for each in published.evaluations for row in result_rows(each, groups[each.eval_id])),
        "matched": (vars(row) for each in published.evaluations for row in matched_rows(each)),
        "subgroup": (vars(row) for each in published.evaluations for row in subgroup_rows(each)),
        "decoding": (vars(row) for each in published.evaluations for row in decoding_rows(each)),
        "comparison": (vars(row) for each in published.comparisons for row in difference_rows(each)),
        "seed_mean": (vars(row) for each in published.groups for row in seed_rows(each, names)),
        "ablation": (row for each in published.ablations for row in _ablation_rows(each)),
        "artefact": _artefact_rows(workspace),
        "imported": (row for each in all_evaluations for row in imported_rows(EVALUATION, each.eval_id, each)),
        "damage": damage_rows(each for each in published.damage if each.kind != RUN),
    }


def _evaluation_row(each: Evaluation, group: SeedGroup | None) -> dict[str, Any]:
    settings, scores, probe = each.settings, each.scores, each.settings.probe
    return {
        "eval_id": valid(each.eval_id),
        **{
            key: valid(getattr(settings, key))
            for key in ("candidate_id", "kind", "label", "cohort", "split", "dataset")
        },
        "run_id": valid(settings.run_id) or None,
        "group_id": group.group_id if group else "",
        "folds": probe.folds,
        "fraction": probe.fraction,
        "draw": probe.draw,
        "asked": valid(probe.asked),
        "is_outcome_used": settings.is_outcome_used,
        "leak": valid(settings.leak),
        "num_films": scores.num_films,
        "num_subjects": scores.num_subjects,
        "auroc": _or_none(scores.macro_auroc.value),
        "auprc": _or_none(scores.macro_auprc.value),
        "content_sha256": each.content_sha256,
    }


def _ablation_rows(ablation: Ablation) -> Iterator[dict[str, Any]]:
    table = ablation.table
    adjusted = {metric: table.adjust(metric) for metric in ABLATION_METRICS}
    rows: list[tuple[str, ArmRow | DifferenceRow]] = [*table.rows.items(), *table.differences.items()]
    for place, row in rows:
        for metric in ABLATION_METRICS:
            number, is_difference = getattr(row, metric), isinstance(row, DifferenceRow)
            interval = number.interval
            yield {
                "name": valid(ablation.name),
                "arm": valid(row.arm),
                "against": valid(row.against) if isinstance(row, DifferenceRow) else "",
                "why": valid(row.why) if isinstance(row, DifferenceRow) else "score",
                "cohort": valid(row.cohort),
                "metric": metric,
                **{key: _or_none(getattr(number, key)) for key in ("value", "lo", "hi", "sd_seeds")},
                "mark": interval.mark,
                "num_seeds": len(number.by_seed),
                "p": _or_none(number.p_value) if is_difference else None,
                "p_holm": _or_none(adjusted[metric].get(place, math.nan)) if is_difference else None,
            }


def _artefact_rows(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Yield the published folders as they lie, but for encoders, which are with their runs."""
    places: list[tuple[str, Path, Iterable[str], Callable[[Path], Any]]] = [
        ("cohort", workspace.cohorts, workspace.cohort_names(), list_manifest),
        (EVALUATION, workspace.evals, workspace.eval_ids(), list_entries),
        (COMPARISON, workspace.comparisons, workspace.comparison_ids(), list_entries),
        (GROUP, workspace.groups, workspace.group_ids(), list_entries),
        (ABLATION, workspace.ablations, workspace.ablation_names(), lambda folder: list_entries(folder / "table")),
    ]
    for kind, folder, names, look in places:
        for name in names:
            with contextlib.suppress(OSError):
                sizes = [entry.num_bytes for entry in look(folder / name)]
                yield artefact_row(kind, name, f"{folder.name}/{name}", sizes)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
