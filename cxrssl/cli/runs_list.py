"""`cxrssl runs list` and `cxrssl runs show`."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.completion import complete_recipe_or_run
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    RunName,
    WorkspacePath,
    align,
    open_workspace,
    print_damage,
    print_summary,
)
from cxrssl.core.columns import align_rows, cell_width, wrap_rows
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, dump_json, format_bytes, nearest_hint, plain

if TYPE_CHECKING:
    from cxrssl.records.members import Member
    from cxrssl.records.run import RunDescription
    from cxrssl.results.filter import Value
    from cxrssl.results.listing import ListedRun
    from cxrssl.results.show import RunReport

WIDTH = 80
COLUMNS = ("run", "state", "progress", "loss", "auroc", "seed", "age")
HEADS = {"progress": "done", "auroc": "AUROC", "auprc": "AUPRC"}
MIN_NAME = 20
MOST_WAITING = 5


def list_runs(
    terms: Annotated[
        list[str] | None, typer.Argument(help="A filter, such as: state:running ehr:stay auroc>0.75 base")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Field to sort by; a minus before it turns it round.", metavar="FIELD")
    ] = "",
    columns: Annotated[str, typer.Option(help="Fields to show, joined by comma.", metavar="LIST")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="List archived runs too.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """List runs, the one that started last first; a filter is words, field:value and comparisons (help runs).

    Example: cxrssl runs list "state:finished auroc>0.7" --sort -auroc
    """
    from cxrssl.results.filter import parse_filter
    from cxrssl.results.jobs import list_not_begun
    from cxrssl.results.listing import known_fields, list_rows, sort_rows

    opened = open_workspace(workspace)
    rows, damage = list_rows(opened)
    known = known_fields(row.values for row in rows)
    wanted = parse_filter(" ".join(terms or []), known)
    is_all = archived or "archived" in wanted.fields
    found = [row for row in rows if (is_all or not row.notes.is_archived) and wanted.matches(row.values)]
    if sort:
        found = sort_rows(found, _known_field(sort.removeprefix("-"), known), sort.startswith("-"))
    if as_json:
        typer.echo(dump_json([_as_data(row) for row in found], indent=1))
    else:
        lines = _list_lines(found, len(rows), _choose_columns(columns, sort, known))
        lines += [] if terms else _waiting_lines(list_not_begun(opened))
        typer.echo("\n".join(lines))
    print_damage(damage)


def show_run(
    run: RunName,
    against: Annotated[
        str,
        typer.Option(
            help="Run or recipe to compare with; left out: the default.",
            metavar="NAME",
            autocompletion=complete_recipe_or_run,
        ),
    ] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show a run: its recipe's difference, the command, events, checkpoints, evaluations and disk use.

    Example: cxrssl runs show mimic-msn
    """
    from cxrssl.cli.recipe import find_any_recipe
    from cxrssl.records.notes import read_notes
    from cxrssl.records.reader import RunReader
    from cxrssl.results.show import describe_run

    opened = open_workspace(workspace)
    reader = RunReader(opened.find_run(run))
    record = reader.poll()
    if record is None:
        what = reader.damage[0].what if reader.damage else "the run has not begun"
        raise UsageError(f"nothing can be shown of this run: {what}", reader.files.folder)
    other = find_any_recipe(against, workspace) if against else None
    report = describe_run(opened, record, read_notes(record.folder), other)
    print_summary(_report_data(report), as_json, _report_lines(report, against or "the default recipe"))
    print_damage(record.damage)


def _known_field(name: str, known: set[str]) -> str:
    if name in known:
        return name
    alike = [field for field in known if field.casefold() == name.casefold()]
    if not alike:
        raise UsageError(f'runs have no field "{plain(name, 60)}"', hint=nearest_hint(name, known)[:200])
    return alike[0]


def _choose_columns(asked: str, sort: str, known: set[str]) -> tuple[str, ...]:
    """Return the fields to show, that which is sorted by among them."""
    if asked:
        names = [_known_field(name.strip(), known) for name in asked.split(",") if name.strip()]
        return tuple(dict.fromkeys(["run", *names]))
    by = _known_field(sort.removeprefix("-"), known) if sort else "run"
    return COLUMNS if by in (*COLUMNS, "started") else (*COLUMNS[:-1], by)


def _as_data(row: ListedRun) -> dict[str, Any]:
    from cxrssl.core.numbers import encode_numbers

    data: dict[str, Any] = encode_numbers(dict(row.values))
    return data


def _list_lines(found: Sequence[ListedRun], num_runs: int, columns: tuple[str, ...]) -> list[str]:
    from cxrssl.results.naming import shorten_names

    if not found:
        return ["no run; make one: cxrssl pretrain" if not num_runs else f"none of {count_noun(num_runs, 'run')}"]
    cells = [[_cell(name, row.values.get(name)) for name in columns] for row in found]
    heads = [HEADS.get(name, name) for name in columns]
    others = [max(map(cell_width, column)) for column in zip(heads[1:], *(row[1:] for row in cells), strict=True)]
    names, width = [plain(row.record.run_id) for row in found], _terminal_width()
    if width:
        names = shorten_names(names, max(width - sum(others) - 2 * len(others), MIN_NAME))
    table = [heads, *([name, *row[1:]] for name, row in zip(names, cells, strict=True))]
    right = {at for at, name in enumerate(columns) if any(isinstance(row.values.get(name), float) for row in found)}
    end = count_noun(len(found), "run") + (f" of {num_runs:,}" if len(found) < num_runs else "")
    return [*align_rows(table, right), end, *_scores_by_cohort(found, columns)]


def _scores_by_cohort(found: Sequence[ListedRun], columns: Sequence[str]) -> Iterator[str]:
    """Yield a line for each run on several cohorts, which has no AUROC of its own in the table but one on each."""
    for row in found if "auroc" in columns else ():
        cohorts = [each.cohort for each in row.record.description.members or ()]
        scores = [(name, row.values.get(f"auroc@{name}")) for name in cohorts]
        known = [f"{plain(name, 40)} {_cell('auroc', value)}" for name, value in scores if value is not None]
        if known:
            yield f"AUROC of {plain(row.record.run_id)}, by cohort: {', '.join(known)}"


def _waiting_lines(waiting: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for each run that is a job of SLURM and has not begun; whether it still waits only squeue says."""
    lines = [f"submitted, not begun: {plain(name)}, squeue --job {job_id}" for name, job_id in waiting[:MOST_WAITING]]
    more = len(waiting) - MOST_WAITING
    return [*lines, f"submitted, not begun: {more:,} more"] if more > 0 else lines


def _terminal_width() -> int:
    """Return the columns of the terminal; 0 for a file or a pipe, in which names stand whole."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0


def _cell(name: str, value: Value | None) -> str:
    """Return a value for a narrow column."""
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value, 40)
    if isinstance(value, tuple):
        return plain(",".join(value), 40)
    if name in ("started", "ended"):
        return clock(value)
    if not math.isfinite(value):
        return str(value)
    if name == "progress":
        return f"{int(100 * value)}%"
    if name in ("age", "left_s"):
        return short_seconds(value)
    if name.startswith(("auroc", "auprc")):
        return f"{value:.3f}"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"


def short_seconds(seconds: float) -> str:
    """Return a duration in one unit, such as "3h"."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def clock(ts: float | None) -> str:
    """Return a local date and time."""
    try:
        return "" if ts is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ts))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _report_data(report: RunReport) -> dict[str, Any]:
    from dataclasses import asdict

    from cxrssl.core.numbers import encode_numbers

    record = report.record
    data: dict[str, Any] = encode_numbers(
        {
            "run_id": record.run_id,
            "folder": str(record.folder),
            "state": record.state,
            "step": record.step,
            "tags": report.notes.tags,
            "note": report.notes.note,
            "is_archived": report.notes.is_archived,
            "description": record.description.to_dict(),
            "command": report.command,
            "differences": [dict(zip(("key", "value", "other"), each, strict=True)) for each in report.differences],
            "events": report.events,
            "checkpoints": [asdict(each) for each in report.checkpoints],
            **asdict(report.needs),
            "disk": [asdict(each) for each in report.disk],
        }
    )
    return data


def _report_lines(report: RunReport, against: str) -> list[str]:
    from cxrssl.recipe.text import format_value

    record, about, notes = report.record, report.record.description, report.notes
    facts = [
        ("state", f"{record.state}, {record.step:,} of {count_noun(record.num_steps, 'step')}"),
        ("started", clock(record.started_at) or "unknown"),
        ("ended", clock(record.ended_at)),
        *(("cohort", _describe_cohort(each)) for each in about.cohorts),
        ("together", _describe_shared(about)),
        ("films where", about.where and f"{plain(about.where, 200)}; {about.num_outside_where or 0:,} others left out"),
        ("device", about.device),
        ("versions", ", ".join(f"{name} {each}" for name, each in about.code_facts.items())),
        ("tags", ", ".join(notes.tags)),
        ("note", notes.note),
        ("archived", "yes" if notes.is_archived else ""),
        ("imported", record.imported.sentence if record.imported else ""),
        *((f"later: {each.key}", f"{each.value:g} (step {each.step:,})") for each in notes.added),
    ]
    lines = [f"run {record.run_id}", *wrap_rows([row for row in facts if row[1]], WIDTH, "  ")]
    rows = [("setting", "this run", "other")]
    rows += [(key, format_value(value) or "-", format_value(other) or "-") for key, value, other in report.differences]
    lines += ["", f"its recipe and {against}: {count_noun(len(report.differences), 'difference')}"]
    lines += wrap_rows(rows, WIDTH, "  ") if report.differences else []
    if report.command:
        lines += ["", "the command that makes it", *(f"  {line}" for line in report.command)]
    return [*lines, *_happened_lines(report), *_made_lines(report)]


def _describe_cohort(member: Member) -> str:
    left_out = f", {count_noun(member.num_left_out, 'film')} left out" if member.num_left_out else ""
    films = count_noun(member.num_films, "film")
    return f"{member.cohort} ({member.dataset}), split {member.split}, {films}{left_out}"


def _describe_shared(about: RunDescription) -> str:
    """Return how many patients several cohorts of a run share, and how its epochs are made of them."""
    if not about.members:
        return ""
    num = about.num_shared_patients
    patients = f"{count_noun(num, 'patient')} in several cohorts, each in one split" if num else "no shared patient"
    return f"{count_noun(about.num_films, 'film')} in all, {about.mix}; {patients}"


def _happened_lines(report: RunReport) -> list[str]:
    from cxrssl.results.show import SHOWN_EVENTS, describe_event

    events = [event for event in report.events if event["event"] != "checkpoint"]
    left_out = len(events) - SHOWN_EVENTS
    head = f"events, the last {SHOWN_EVENTS} of {len(events):,}" if left_out > 0 else "events"
    rows = [(clock(event["ts"]), describe_event(event)) for event in events[-SHOWN_EVENTS:]]
    return ["", head, *wrap_rows(rows, WIDTH, "  ")] if rows else []


def _made_lines(report: RunReport) -> list[str]:
    lines: list[str] = []
    needs = report.needs
    for noun, names in (("evaluation", needs.evaluations), ("ablation", needs.ablations), ("descendant", needs.runs)):
        if names:
            lines += ["", count_noun(len(names), noun), *(f"  {plain(name, 120)}" for name in names)]
    pieces = [*report.checkpoints, *report.disk]
    total = sum(each.num_bytes for each in report.disk)
    rows = [(each.name, format_bytes(each.num_bytes)) for each in report.checkpoints]
    lines += ["", "checkpoints", *align(rows)] if rows else []
    return (
        [*lines, "", f"disk, {format_bytes(total)}", *align([(p.name, format_bytes(p.num_bytes)) for p in report.disk])]
        if pieces
        else lines
    )
