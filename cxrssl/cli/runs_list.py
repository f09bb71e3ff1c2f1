"""`cxrssl runs list`."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    open_workspace,
    print_damage,
)
from cxrssl.core.columns import align_rows, cell_width
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, dump_json, nearest_hint, plain

if TYPE_CHECKING:
    from cxrssl.results.filter import Value
    from cxrssl.results.listing import ListedRun

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
    """Return a line for each run that was submitted to SLURM and has not begun; only squeue knows if it still waits."""
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
