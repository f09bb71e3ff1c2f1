"""Write a report: Markdown for people, CSV with every number for everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from cxrssl.audit.checks import Audit, Result
from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import CxrsslError, DataError, IntegrityError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.version import __version__
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import Averages, has_seeds, publish_averages, table_groups
from cxrssl.evaluate.compare import Differences, group_evaluations, list_pairs, publish_comparisons
from cxrssl.evaluate.groups import SeedGroup, group_seeds
from cxrssl.evaluate.learning import find_curves, publish_curves
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.cohorts import KIND as COHORT
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.file import read_json
from cxrssl.records.published import Published, read_published, renew_comparisons
from cxrssl.records.reader import RunRecord
from cxrssl.records.setup import find_setups
from cxrssl.report.ablations import list_ablation_rows, write_ablations
from cxrssl.report.cells import Cell, Number
from cxrssl.report.csv import write_csv
from cxrssl.report.difference_tables import COLUMNS, difference_table, list_difference_rows, seed_difference_table
from cxrssl.report.figure import draw_flow
from cxrssl.report.flow import Flow, follow_films
from cxrssl.report.group_tables import list_group_tables, list_matched_rows, list_subgroup_rows
from cxrssl.report.learning_tables import learning_tables, list_learning_rows
from cxrssl.report.markdown import code, escape, image, write_markdown
from cxrssl.report.probe_tables import finding_table, macro_table, outcome_sentence
from cxrssl.report.seed_tables import describe_mixed, list_seed_rows, seed_finding_table, seed_table
from cxrssl.report.small import HIDDEN, NOTE, SHOWN, SmallCells, hide_in_row, hide_in_sentence
from cxrssl.report.tables import ReportTable
from cxrssl.report.transfer_tables import fit_numbers, fit_tables
from cxrssl.results.rows import ResultRow, SeedRow, group_of, result_rows
from cxrssl.results.store import rebuild_store

KIND = "report"
MATCHED, SUBGROUPS = "matched.csv", "subgroups.csv"
MISSHAPEN = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""What looking at a cohort raises that another version or another program has made, whole as its files are."""


@dataclass(frozen=True)
class Report:
    folder: Path
    markdown: str
    damage: tuple[Damage, ...]
    """Runs, evaluations, comparisons and the like that it could not use, or not in full; it names them."""


def write_report(workspace: Workspace, name: str = "latest", small: SmallCells = "hide") -> Report:
    """Publish `reports/<name>/` over all evaluations and ablations, and fold the store.

    It holds {report.md, results.csv, differences.csv, matched.csv, subgroups.csv, seeds.csv, learning.csv,
    thresholds.csv, calibration.csv, reliability.csv, ablations.csv, flow-*.svg}; those between results.csv and
    flow-*.svg where there is something to put into them. Counts of fewer than ten subjects are hidden, and groups of so
    few left out, unless `small` says otherwise: see `small`.

    Raises: DataError when nothing was probed yet, or nothing that was can be read.
    """
    before = read_published(workspace)
    if not before.evaluations:
        unusable = [each for each in before.damage if each.kind == EVALUATION]
        what = f"no evaluation can be read; {unusable[0].sentence}" if unusable else "nothing was probed yet"
        raise DataError(what, workspace.root, "probe a run: cxrssl probe RUN")
    differences = publish_comparisons(workspace, list_pairs(before.evaluations))
    setups = find_setups((run.run_id, run.description) for run in before.runs)
    groups = group_seeds(before.evaluations, setups)
    seeds = [table for table in table_groups(groups) if has_seeds(table)]
    averages = publish_averages(workspace, seeds, before.groups)
    published = renew_comparisons(workspace, before)
    made, unfollowed = _make_flows(workspace, published)
    flows = {file: flow.hide_small(small) for file, flow in made.items()}
    results = replace(before, damage=(*before.damage, *unfollowed))  # also of comparisons that were made again now
    audit = _audit_lines(workspace, published)
    curves = find_curves(before.evaluations, before.points)
    numbers = publish_curves(workspace, curves)
    tables = _list_tables(results.evaluations, differences, table_groups(groups), averages, small)
    tables += learning_tables(curves, numbers, small)
    markdown = _write_text(workspace, results, tables, flows, audit, small)
    folder = workspace.reports / name
    settings = {"evaluations": [evaluation.eval_id for evaluation in results.evaluations], "small_cells": small}
    with publish(folder, KIND, settings) as building:
        write_bytes(building / "report.md", markdown.encode())
        write_bytes(
            building / "results.csv", write_csv(_list_numbers(results.evaluations, group_of(groups), small)).encode()
        )
        for file, table in _list_group_rows(results.evaluations, small).items():
            write_bytes(building / file, write_csv(table).encode())
        if published.comparisons:
            write_bytes(building / "differences.csv", write_csv(_list_pairs(published, small)).encode())
        if seeds:
            write_bytes(building / "seeds.csv", write_csv(_list_means(seeds, averages, small)).encode())
        if curves:
            write_bytes(building / "learning.csv", write_csv(list_learning_rows(curves, numbers, small)).encode())
        for file, table in fit_numbers(results.evaluations, small).items():
            write_bytes(building / file, write_csv(table).encode())
        if before.ablations:
            write_bytes(building / "ablations.csv", write_csv(list_ablation_rows(before.ablations, small)).encode())
        for file, flow in flows.items():
            write_bytes(building / file, draw_flow(flow).encode())
    rebuild_store(workspace, published)
    return Report(folder, markdown, results.damage)


def _write_text(
    workspace: Workspace,
    results: Published,
    tables: Sequence[ReportTable],
    flows: Mapping[str, Flow],
    audit: str,
    small: SmallCells,
) -> str:
    """Return the report as Markdown."""
    evaluations = results.evaluations
    releases = "\n".join(f"- {line}" for line in _release_lines(workspace, results))
    first = hide_in_sentence(outcome_sentence(evaluations), small)
    header = f"{first}\n\n# Report\n\nMade by cxrssl {__version__}. Cohorts:\n\n{releases}\n"
    damage = [_damage_lines(results.damage)] if results.damage else []
    about_runs, about_leaks = (hide_in_sentence(text, small) for text in (_run_lines(results.runs), audit))
    imported = _imported_lines(evaluations)
    parts = [header, about_runs, *([imported] if imported else []), *damage, about_leaks]
    parts += [write_markdown(table) for table in tables]
    ablations = write_ablations(results.ablations, _list_unfinished(workspace, results), small)
    parts += [ablations] if ablations else []
    for file, flow in flows.items():
        parts += [write_markdown(flow.to_table()), f"{image(flow.title, file)}\n"]
    text = "\n".join(parts)
    note = [SHOWN] if small == "show" else [NOTE] if HIDDEN in text else []
    return "\n".join([text, *note])


def _list_tables(
    evaluations: Sequence[Evaluation],
    differences: Differences,
    setups: Sequence[Sequence[SeedGroup]],
    averages: Averages,
    small: SmallCells,
) -> list[ReportTable]:
    """Return the tables on what was scored on equal terms: means over seeds, single evaluations, findings."""
    by_terms = {table[0].settings.terms: table for table in setups}
    tables = []
    for group in group_evaluations(evaluations):
        table = by_terms[group[0].settings.terms]
        singles = [macro_table(group, differences, small), *list_group_tables(group, small)]
        means = []
        if has_seeds(table):
            means = [seed_table(table, averages), seed_finding_table(table, averages, small)]
            means += _if_any(seed_difference_table(table, averages))
        else:
            singles[1:1] = [finding_table(group, small), *_if_any(difference_table(group, differences))]
        mixed = describe_mixed(table)
        singles = [replace(each, note=" ".join(filter(None, [mixed, each.note]))) for each in singles]
        tables += [*means[:1], singles[0], *means[1:], *singles[1:]]
    return tables + fit_tables(evaluations, differences)


def _if_any(table: ReportTable) -> list[ReportTable]:
    return [table] if table.rows else []


def _list_group_rows(evaluations: Sequence[Evaluation], small: SmallCells) -> dict[str, ReportTable]:
    """Return the rows on alike films and on groups by the name of their file, where there are any."""
    tables = {MATCHED: list_matched_rows(evaluations), SUBGROUPS: list_subgroup_rows(evaluations, small)}
    return {file: table for file, table in tables.items() if table.rows}


def _list_pairs(published: Published, small: SmallCells) -> ReportTable:
    """Return every number of every paired difference of two evaluations."""
    rows = [list(map(_make_cell, row.values())) for row in list_difference_rows(published.comparisons, small)]
    return ReportTable("Differences", COLUMNS, rows)


def _list_means(seeds: Sequence[Sequence[SeedGroup]], averages: Averages, small: SmallCells) -> ReportTable:
    """Return every number of every setup that was trained with several seeds."""
    rows = [[_make_cell(value) for value in row.values()] for row in list_seed_rows(seeds, averages, small)]
    return ReportTable("Means over seeds", [field.name for field in fields(SeedRow)], rows)


def _list_numbers(evaluations: Sequence[Evaluation], groups: Mapping[str, SeedGroup], small: SmallCells) -> ReportTable:
    """Return every number of every evaluation."""
    named = [
        (vars(row), each.scores.num_films) for each in evaluations for row in result_rows(each, groups[each.eval_id])
    ]
    rows = [[_make_cell(value) for value in hide_in_row(*each, small).values()] for each in named]
    return ReportTable("Results", [field.name for field in fields(ResultRow)], rows)


def _make_cell(value: str | int | float | None) -> Cell:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return Number(value) if isinstance(value, float) else value


def _release_lines(workspace: Workspace, results: Published) -> list[str]:
    """Return for each cohort whether its files were checked against their publisher's checksums."""
    lines = []
    here = {each.settings.cohort for each in results.evaluations if not each.imported}
    for name in dict.fromkeys(cohort for cohort, _ in results.probed):
        shown, path = plain(name, 80), workspace.cohorts / name / "summary.json"
        if name not in here:
            lines.append(escape(f"{shown}: of imported results; it is not known whether its source files were checked"))
            continue
        try:
            release = read_json(path)["release"] if path.exists() else None
            line = describe_release(shown, release)
        except (IntegrityError, *MISSHAPEN):
            line = f"{shown}: unknown whether its source files were checked, as summary.json cannot be used"
        lines.append(escape(line))
    return lines


def _run_lines(runs: Sequence[RunRecord]) -> str:
    lines = [
        f"- {code(run.run_id)}: {_imported(run)}{run.state}, step {run.step:,} of {run.num_steps:,}, "
        f"{run.description.num_films:,} films{_twins_left_out(run)}"
        for run in reversed(runs)
    ]
    return "Runs:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _imported(run: RunRecord) -> str:
    return f"{run.imported.sentence}, " if run.imported else ""


def _imported_lines(evaluations: Sequence[Evaluation]) -> str:
    """Return from which archive each imported evaluation is, and what that left out."""
    lines = [f"- {code(each.eval_id)}: {escape(each.imported.sentence, 600)}" for each in evaluations if each.imported]
    return "\n".join(["Imported, without what was predicted of each film:", "", *lines, ""]) if lines else ""


def _damage_lines(damage: Sequence[Damage]) -> str:
    lines = [f"- {escape(each.sentence, 600)}" for each in damage]
    return "\n".join(["Not read, or not in full:", "", *lines, ""])


def _list_unfinished(workspace: Workspace, results: Published) -> list[str]:
    """Return the ablations that have no table yet."""
    seen = {each.name for each in results.ablations} | {each.name for each in results.damage if each.kind == ABLATION}
    return [name for name in workspace.ablation_names() if name not in seen]


def _twins_left_out(run: RunRecord) -> str:
    num = run.description.num_twins_left_out
    return f"; {count_noun(num, 'train film')} left out as twins of val or test films" if num else ""


def _make_flows(workspace: Workspace, results: Published) -> tuple[dict[str, Flow], list[Damage]]:
    """Return the flow of each cohort and split that was probed and is still there, by the name of its figure's file.

    A cohort whose films cannot be followed is damage, and takes no other with it.
    """
    flows: dict[str, Flow] = {}
    damage = []
    for name in workspace.cohort_names():
        splits = [split for cohort, split in results.probed if cohort == name]
        try:
            cohort = open_cohort(workspace.cohorts / name) if splits else None
            for split in splits:
                if cohort is not None and split in cohort.schemes:
                    file = re.sub(r"[^A-Za-z0-9_.+-]", "_", f"flow-{name}-{split}.svg")
                    flows[file] = follow_films(workspace, cohort, split, results.evaluations)
        except CxrsslError as error:
            damage.append(Damage(COHORT, name, error.what))
        except MISSHAPEN as error:
            damage.append(Damage(COHORT, name, f"its films cannot be followed: {type(error).__name__}: {error}"))
    return flows, damage


def _audit_lines(workspace: Workspace, results: Published) -> str:
    """Return one line for each cohort, pair of cohorts and run, one for all evaluations, and what was found."""
    if not workspace.cohort_names():
        return "Audit: not made, the workspace holds no cohort.\n"
    groups: dict[str, list[Result]] = {}
    for result in audit_workspace(workspace, read=results).results:
        about = result.about.split(" on cohort ")[0] if result.about.startswith("run ") else result.about
        groups.setdefault("evaluations" if about.startswith(("evaluation ", "all ")) else about, []).append(result)
    lines = []
    for about, group in groups.items():
        audit = Audit(tuple(group))
        lines.append(f"- {escape(about)}: {audit.line()}")
        lines += [f"  - {each.severity}: {each.code}: {escape(each.finding, 500)}" for each in audit.findings]
    return "\n".join(["Audit:", "", *lines, ""])
