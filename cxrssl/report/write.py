"""Write a report: Markdown for people, CSV with every number for everything else."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from cxrssl import __version__
from cxrssl.core.artefact import publish, write_bytes
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.evaluation import list_evaluations
from cxrssl.report.summary import cohort_table, finding_table, group_evaluations, macro_table, outcome_sentence
from cxrssl.results import list_runs, rebuild_store, result_rows

KIND = "report"


@dataclass(frozen=True)
class Report:
    folder: Path
    markdown: str


def write_report(workspace: Workspace, name: str = "latest") -> Report:
    """Publish `reports/<name>/{report.md, results.csv}` over all evaluations of the workspace and fold the store.

    Raises: DataError when nothing was probed yet.
    """
    evaluations = list_evaluations(workspace)
    if not evaluations:
        raise DataError("nothing was probed yet", workspace.root, "probe a run: cxrssl probe RUN")
    groups = group_evaluations(evaluations)
    tables = [table for group in groups for table in (macro_table(group), finding_table(group))]
    cohorts = sorted({evaluation.settings["cohort"] for evaluation in evaluations})
    tables += [cohort_table(workspace, cohort) for cohort in cohorts if cohort in workspace.cohort_names()]
    header = (
        f"{outcome_sentence(evaluations)}\n\n# Report\n\nMade by cxrssl {__version__}. Source files were not checked "
        "against their publisher's checksums (unverified).\n"
    )
    markdown = "\n".join([header, _runs_line(workspace), *[table.to_markdown() for table in tables]])
    rows = [row for evaluation in evaluations for row in result_rows(evaluation)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder = workspace.reports / name
    settings = {"evaluations": [evaluation.eval_id for evaluation in evaluations]}
    with publish(folder, KIND, settings) as building:
        write_bytes(building / "report.md", markdown.encode())
        write_bytes(building / "results.csv", buffer.getvalue().encode())
    rebuild_store(workspace)
    return Report(folder, markdown)


def _runs_line(workspace: Workspace) -> str:
    runs = list_runs(workspace)
    lines = [
        f"- `{run.run_id}`: {run.state}, step {run.step:,} of {run.num_steps:,}, {run.description['num_films']:,} films"
        for run in reversed(runs)
    ]
    return "Runs:\n\n" + "\n".join(lines) + "\n" if lines else ""
