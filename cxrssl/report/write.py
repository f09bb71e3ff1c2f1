"""Write a report: Markdown for people, CSV with every number for everything else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrssl import __version__
from cxrssl.audit.checks import Audit, Result
from cxrssl.audit.workspace import audit_workspace
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import Differences, group_evaluations, list_pairs, publish_comparisons
from cxrssl.records.comparison import list_comparisons
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.reader import RunRecord, list_runs
from cxrssl.report.figure import draw_flow
from cxrssl.report.flow import Flow, follow_films
from cxrssl.report.summary import finding_table, macro_table, outcome_sentence
from cxrssl.results import rebuild_store, result_rows

KIND = "report"


@dataclass(frozen=True)
class Report:
    folder: Path
    markdown: str
    damage: tuple[Damage, ...]
    """Runs, evaluations and comparisons that it could not use, or not in full; it names them."""


def write_report(workspace: Workspace, name: str = "latest") -> Report:
    """Publish `reports/<name>/{report.md, results.csv, flow-*.svg}` over all evaluations and fold the store.

    Raises: DataError when nothing was probed yet, or nothing that was can be read.
    """
    evaluations, unusable = list_evaluations(workspace)
    runs, damaged = list_runs(workspace)
    differing = list_comparisons(workspace)[1]  # before they are made again
    damage = (*damaged, *unusable, *differing)
    if not evaluations:
        what = f"no evaluation can be read; {unusable[0].sentence}" if unusable else "nothing was probed yet"
        raise DataError(what, workspace.root, "probe a run: cxrssl probe RUN")
    flows = _make_flows(workspace, evaluations)
    differences = publish_comparisons(workspace, list_pairs(evaluations))
    markdown = _write_markdown(workspace, evaluations, runs, damage, flows, differences)
    folder = workspace.reports / name
    settings = {"evaluations": [evaluation.eval_id for evaluation in evaluations]}
    with publish(folder, KIND, settings) as building:
        write_bytes(building / "report.md", markdown.encode())
        write_bytes(building / "results.csv", _write_csv(evaluations).encode())
        for file, flow in flows.items():
            write_bytes(building / file, draw_flow(flow).encode())
    rebuild_store(workspace)
    return Report(folder, markdown, damage)


def _write_markdown(
    workspace: Workspace,
    evaluations: Sequence[Evaluation],
    runs: Sequence[RunRecord],
    damage: Sequence[Damage],
    flows: Mapping[str, Flow],
    differences: Differences,
) -> str:
    groups = group_evaluations(evaluations)
    tables = [table for group in groups for table in (macro_table(group, differences), finding_table(group))]
    cohorts = sorted({evaluation.settings.cohort for evaluation in evaluations})
    releases = "\n".join(f"- {line}" for line in _release_lines(workspace, cohorts))
    header = f"{outcome_sentence(evaluations)}\n\n# Report\n\nMade by cxrssl {__version__}. Cohorts:\n\n{releases}\n"
    parts = [header, _run_lines(runs), *([_damage_lines(damage)] if damage else []), _audit_lines(workspace)]
    parts += [table.to_markdown() for table in tables]
    for file, flow in flows.items():
        parts += [flow.to_table().to_markdown(), f"![{flow.title}]({file})\n"]
    return "\n".join(parts)


def _write_csv(evaluations: Sequence[Evaluation]) -> str:
    """Return every number of every evaluation."""
    rows = [row for evaluation in evaluations for row in result_rows(evaluation)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _release_lines(workspace: Workspace, cohorts: list[str]) -> list[str]:
    """Return for each cohort whether its files were checked against their publisher's checksums."""
    lines = []
    for name in cohorts:
        summary = workspace.cohorts / name / "summary.json"
        values = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        lines.append(describe_release(plain(name, 80), values.get("release")))
    return lines


def _run_lines(runs: Sequence[RunRecord]) -> str:
    lines = [
        f"- `{plain(run.run_id)}`: {run.state}, step {run.step:,} of {run.num_steps:,}, "
        f"{run.description.num_films:,} films{_twins_left_out(run)}"
        for run in reversed(runs)
    ]
    return "Runs:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _damage_lines(damage: Sequence[Damage]) -> str:
    lines = [f"- {each.sentence}" for each in damage]
    return "\n".join(["Not read, or not in full:", "", *lines, ""])


def _twins_left_out(run: RunRecord) -> str:
    num = run.description.num_twins_left_out
    return f"; {count_noun(num, 'train film')} left out as twins of val or test films" if num else ""


def _make_flows(workspace: Workspace, evaluations: Sequence[Evaluation]) -> dict[str, Flow]:
    """Return the flow of each cohort and split that was probed and is still there, by the name of its figure's file."""
    flows = {}
    probed = {(each.settings.cohort, each.settings.split) for each in evaluations}
    for name in workspace.cohort_names():
        splits = sorted(split for cohort, split in probed if cohort == name)
        cohort = open_cohort(workspace.cohorts / name) if splits else None
        for split in splits:
            if cohort is not None and split in cohort.schemes:
                flows[f"flow-{name}-{split}.svg"] = follow_films(workspace, cohort, split, evaluations)
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
        lines.append(f"- {plain(about)}: {audit.line()}")
        lines += [f"  - {each.severity}: {each.code}: {plain(each.finding)}" for each in audit.findings]
    return "\n".join(["Audit:", "", *lines, ""])
