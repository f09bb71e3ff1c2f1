"""`cxrssl runs show`."""

from __future__ import annotations

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
from cxrssl.cli.runs_list import clock
from cxrssl.core.columns import wrap_rows
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, format_bytes, plain

if TYPE_CHECKING:
    from cxrssl.records.members import Member
    from cxrssl.records.run import RunDescription
    from cxrssl.results.show import RunReport

WIDTH = 80


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
