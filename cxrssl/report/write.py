"""Write a report: Markdown for people, CSV with every number for everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from cxrssl import __version__
from cxrssl.audit.checks import Audit, Result
from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.reader import RunRecord
from cxrssl.report.cells import Cell, Number
from cxrssl.report.csv import write_csv
from cxrssl.report.figure import draw_flow
from cxrssl.report.flow import Flow, follow_films
from cxrssl.report.markdown import code, escape, image, write_markdown
from cxrssl.report.probe_tables import finding_table, macro_table, outcome_sentence
from cxrssl.report.small import HIDDEN, NOTE, SHOWN, SmallCells, hide_in_row, hide_in_sentence
from cxrssl.report.tables import ReportTable
from cxrssl.results.query import Results, read_results, renew_comparisons
from cxrssl.results.rows import ResultRow, result_rows
from cxrssl.results.store import rebuild_store

KIND = "report"


@dataclass(frozen=True)
class Report:
    folder: Path
    markdown: str
    damage: tuple[Damage, ...]
    """Runs, evaluations and comparisons that it could not use, or not in full; it names them."""


def write_report(workspace: Workspace, name: str = "latest", small: SmallCells = "hide") -> Report:
    """Publish `reports/<name>/{report.md, results.csv, flow-*.svg}` over all evaluations and fold the store.

    Counts of fewer than ten subjects are hidden unless `small` says otherwise: see `small`.

    Raises: DataError when nothing was probed yet, or nothing that was can be read.
    """
    results = read_results(workspace)
    if not results.evaluations:
        unusable = [each for each in results.damage if each.kind == EVALUATION]
        what = f"no evaluation can be read; {unusable[0].sentence}" if unusable else "nothing was probed yet"
        raise DataError(what, workspace.root, "probe a run: cxrssl probe RUN")
    flows = {file: flow.hide_small(small) for file, flow in _make_flows(workspace, results).items()}
    markdown = _write_text(workspace, results, flows, small)
    folder = workspace.reports / name
    settings = {"evaluations": [evaluation.eval_id for evaluation in results.evaluations], "small_cells": small}
    with publish(folder, KIND, settings) as building:
        write_bytes(building / "report.md", markdown.encode())
        write_bytes(building / "results.csv", write_csv(_list_numbers(results.evaluations, small)).encode())
        for file, flow in flows.items():
            write_bytes(building / file, draw_flow(flow).encode())
    rebuild_store(workspace, renew_comparisons(workspace, results))
    return Report(folder, markdown, results.damage)


def _write_text(workspace: Workspace, results: Results, flows: Mapping[str, Flow], small: SmallCells) -> str:
    """Return the report as Markdown; comparisons that are missing are published first."""
    evaluations = results.evaluations
    differences = publish_comparisons(workspace, list_pairs(evaluations))
    groups = group_evaluations(evaluations)
    tables = [
        table for group in groups for table in (macro_table(group, differences, small), finding_table(group, small))
    ]
    releases = "\n".join(f"- {line}" for line in _release_lines(workspace, results))
    first = hide_in_sentence(outcome_sentence(evaluations), small)
    header = f"{first}\n\n# Report\n\nMade by cxrssl {__version__}. Cohorts:\n\n{releases}\n"
    damage = [_damage_lines(results.damage)] if results.damage else []
    about_runs, about_leaks = (
        hide_in_sentence(text, small) for text in (_run_lines(results.runs), _audit_lines(workspace))
    )
    parts = [header, about_runs, *damage, about_leaks]
    parts += [write_markdown(table) for table in tables]
    for file, flow in flows.items():
        parts += [write_markdown(flow.to_table()), f"{image(flow.title, file)}\n"]
    text = "\n".join(parts)
    note = [SHOWN] if small == "show" else [NOTE] if HIDDEN in text else []
    return "\n".join([text, *note])


def _list_numbers(evaluations: Sequence[Evaluation], small: SmallCells) -> ReportTable:
    """Return every number of every evaluation."""
    named = [(vars(row), each.scores.num_films) for each in evaluations for row in result_rows(each)]
    rows = [[_make_cell(value) for value in hide_in_row(*each, small).values()] for each in named]
    return ReportTable("Results", [field.name for field in fields(ResultRow)], rows)


def _make_cell(value: str | int | float | None) -> Cell:
    if value is None:
        return ""
    return Number(value) if isinstance(value, float) else value


def _release_lines(workspace: Workspace, results: Results) -> list[str]:
    """Return for each cohort whether its files were checked against their publisher's checksums."""
    lines = []
    for name in dict.fromkeys(cohort for cohort, _ in results.probed):
        summary = workspace.cohorts / name / "summary.json"
        values = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        lines.append(escape(describe_release(plain(name, 80), values.get("release"))))
    return lines


def _run_lines(runs: Sequence[RunRecord]) -> str:
    lines = [
        f"- {code(run.run_id)}: {run.state}, step {run.step:,} of {run.num_steps:,}, "
        f"{run.description.num_films:,} films{_twins_left_out(run)}"
        for run in reversed(runs)
    ]
    return "Runs:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _damage_lines(damage: Sequence[Damage]) -> str:
    lines = [f"- {escape(each.sentence, 600)}" for each in damage]
    return "\n".join(["Not read, or not in full:", "", *lines, ""])


def _twins_left_out(run: RunRecord) -> str:
    num = run.description.num_twins_left_out
    return f"; {count_noun(num, 'train film')} left out as twins of val or test films" if num else ""


def _make_flows(workspace: Workspace, results: Results) -> dict[str, Flow]:
    """Return the flow of each cohort and split that was probed and is still there, by the name of its figure's file."""
    flows = {}
    for name in workspace.cohort_names():
        splits = [split for cohort, split in results.probed if cohort == name]
        cohort = open_cohort(workspace.cohorts / name) if splits else None
        for split in splits:
            if cohort is not None and split in cohort.schemes:
                file = re.sub(r"[^A-Za-z0-9_.+-]", "_", f"flow-{name}-{split}.svg")
                flows[file] = follow_films(workspace, cohort, split, results.evaluations)
    return flows


def _audit_lines(workspace: Workspace) -> str:
    """Return one line for each cohort, pair of cohorts and run, one for all evaluations, and what was found."""
    if not workspace.cohort_names():
        return "Audit: not made, the workspace holds no cohort.\n"
    groups: dict[str, list[Result]] = {}
    for result in audit_workspace(workspace).results:
        about = result.about.split(" on cohort ")[0] if result.about.startswith("run ") else result.about
        groups.setdefault("evaluations" if about.startswith(("evaluation ", "all ")) else about, []).append(result)
    lines = []
    for about, results in groups.items():
        audit = Audit(tuple(results))
        lines.append(f"- {escape(about)}: {audit.line()}")
        lines += [f"  - {each.severity}: {each.code}: {escape(each.finding, 500)}" for each in audit.findings]
    return "\n".join(["Audit:", "", *lines, ""])
