"""`cxrssl cohort`: a published cohort shown, checked and handed on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.completion import complete_cohort, complete_cohort_or_run
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    CohortArgument,
    SmallCellsChoice,
    WorkspacePath,
    align,
    next_line,
    open_workspace,
    print_damage,
    print_summary,
)
from cxrssl.core.columns import align_rows
from cxrssl.core.errors import CxrsslError, DataError, SetupError, UsageError
from cxrssl.core.text import count_noun, shell_word

if TYPE_CHECKING:
    from cxrssl.audit.checks import Audit, Result
    from cxrssl.core.workspace import Workspace

app = typer.Typer(
    help="List, show, audit and export cohorts.\n\nExample: cxrssl cohort show mimic",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_cohorts(workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List the cohorts of the workspace: dataset, films, subjects, default split, whether the films are packed.

    Example: cxrssl cohort list
    """
    opened = open_workspace(workspace)
    cohorts = [_summarise(opened, name) for name in opened.cohort_names()]
    lines = align_rows([_list_row(cohort) for cohort in cohorts], indent="  ")
    print_summary({"cohorts": cohorts}, as_json, lines or ["no cohort; make one: cxrssl ingest DATASET PATH"])


@app.command()
def show(
    name: CohortArgument = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show a cohort: films seen, accepted and rejected, link status, unknown features, splits.

    Example: cxrssl cohort show mimic
    """
    from cxrssl.cli.ingest import describe_cohort, describe_notes
    from cxrssl.cohort.again import naming_ingest
    from cxrssl.cohort.read import KIND
    from cxrssl.core.artefact import open_artefact
    from cxrssl.images.index import read_notes

    opened = open_workspace(workspace)
    folder = opened.find_cohort(name)
    with naming_ingest(folder):
        open_artefact(folder, KIND, verify=False)
    values = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    packed = opened.images / folder.name
    values["notes"] = read_notes(packed) if packed.is_dir() else {}
    then = next_line("pretrain", "--cohort", folder.name, workspace=workspace)
    print_summary(values, as_json, [*describe_cohort(values), *describe_notes(values["notes"]), then])


@app.command()
def export(
    name: CohortArgument = "",
    to: Annotated[str, typer.Option(help="parquet, csv or meds.")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="Folder to make; exports/NAME-FORMAT when left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older export.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a cohort as one row a film (parquet, csv) or as MEDS events, with a codebook and a notice on data use.

    Example: cxrssl cohort export mimic --to meds --out mimic-meds
    """
    from cxrssl.cohort.export import export_cohort

    if out is not None and out.suffix.lower() in (".csv", ".parquet", ".zip"):
        raise UsageError(
            "--out is a folder, and this is the name of a file", out, f"--out {shell_word(out.with_suffix(''))}"
        )
    with _named_by("--out" if out else "--workspace"):
        written = export_cohort(open_workspace(workspace), name, to, out, force)
    summary = {"folder": str(written.path), "was_current": written.was_current, "rows": written.values}
    state = "was there already" if written.was_current else "written"
    rows = align([(file, f"{num:,} rows") for file, num in written.values.items()])
    print_summary(summary, as_json, [f"{written.path} {state}", *rows, "read NOTICE.txt before passing it on"])


@app.command()
def audit(
    name: Annotated[
        str, typer.Argument(help="Cohort; all of them when left out.", autocompletion=complete_cohort)
    ] = "",
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Cohort or run to compare it with; all of them when left out.", autocompletion=complete_cohort_or_run
        ),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Finding or feature to be predicted; all findings when left out.")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Look for leaks: in cohorts, between every two of them, and between runs and the test films they are probed on.

    Exit code 3 when a leak makes numbers on test films worthless; pretrain and probe refuse the same.

    Example: cxrssl cohort audit mimic --against nih
    """
    from cxrssl.audit.everything import audit_workspace

    done = audit_workspace(open_workspace(workspace), name, against or (), target or ())
    print_summary(done.to_dict(), as_json, _describe_audit(done))
    if done.refusals:
        raise typer.Exit(DataError.exit_code)


@app.command()
def flow(
    name: CohortArgument = "",
    split: Annotated[str, typer.Option(help="Split scheme; the cohort's default when left out.")] = "",
    figure: Annotated[Path | None, typer.Option(help="SVG file to write the figure to.")] = None,
    small_cells: SmallCellsChoice = "hide",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show how many films each step left, from the rows of the source to the films that are scored, and why.

    Example: cxrssl cohort flow mimic --figure flow.svg
    """
    from dataclasses import asdict

    from cxrssl.core.durable import write_bytes
    from cxrssl.core.place import check_outside_datasets
    from cxrssl.records.evaluation import list_evaluations
    from cxrssl.report.figure import draw_flow
    from cxrssl.report.flow import cohort_flow
    from cxrssl.report.small import parse_small_cells

    small = parse_small_cells(small_cells)
    if figure is not None and figure.suffix.lower() != ".svg":
        name_of_svg = figure.with_suffix(".svg") if figure.name else "flow.svg"
        raise UsageError("the figure is written as SVG", figure, f"--figure {shell_word(name_of_svg)}")
    opened = open_workspace(workspace)
    if figure is not None:
        check_outside_datasets(opened, figure.absolute())
    evaluations, damage = list_evaluations(opened)
    made = cohort_flow(opened, opened.find_cohort(name).name, split, evaluations).hide_small(small)
    print_damage(damage)
    if figure is not None:
        with _named_by("--figure"):
            write_bytes(figure.absolute(), draw_flow(made).encode())
    rows = [(what, films) for what, films in made.to_table().texts()]
    print_summary(asdict(made), as_json, [made.title, *align(rows)])


@contextlib.contextmanager
def _named_by(option: str) -> Iterator[None]:
    """Have the error of a write name the option that names its place."""
    try:
        yield
    except SetupError as error:
        raise SetupError(error.what, error.where, f"name another place with {option}, or free some space") from error


def _summarise(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return what a list says of a cohort; of one that cannot be read, why."""
    from cxrssl.cohort.read import KIND
    from cxrssl.core.artefact import open_artefact

    try:
        folder = open_artefact(workspace.cohorts / name, KIND, verify=False).path
        values = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        films = values["films"]
        found = {"dataset": values["dataset"], "films": int(films["accepted"]), "subjects": int(films["subjects"])}
        found["default_split"] = values["default_split"]
    except CxrsslError as error:
        return {"name": name, "fault": error.what}
    except (OSError, ValueError, LookupError, TypeError):
        return {"name": name, "fault": "summary.json cannot be read"}
    return {"name": name, **found, "is_packed": (workspace.images / name).is_dir()}


def _list_row(cohort: dict[str, Any]) -> list[str]:
    if "fault" in cohort:
        return [cohort["name"], "damaged", cohort["fault"], "", "", ""]
    counts = [count_noun(cohort[f"{noun}s"], noun) for noun in ("film", "subject")]
    state = "packed" if cohort["is_packed"] else "not packed"
    return [cohort["name"], cohort["dataset"], *counts, f"split {cohort['default_split']}", state]


def _describe_audit(done: Audit) -> list[str]:
    lines = []
    for about, part in done.by_subject.items():
        lines.append(f"{about}: {part.line()}")
        width = max(len(result.code) for result in part.results)
        for result in part.results:
            lines += _describe_result(result, width)
    refused = f"; {len(done.refusals):,} refuse" if done.refusals else ""
    return [*lines, f"together: {done.line()}{refused}"]


def _describe_result(result: Result, width: int) -> list[str]:
    mark = {"ok": "ok", "skipped": "-", "warn": "WARN", "refuse": "REFUSE"}[result.severity]
    lines = [f"  {mark:<6}  {result.code.ljust(width)}  {result.finding or result.compared}"]
    if result.finding:
        indent = " " * (width + 12)
        rows = ", ".join(f"{row:,}" for row in result.examples)
        lines += [f"{indent}e.g. rows {rows} of films.npz"] if rows else []
        lines.append(f"{indent}hint: {result.hint}")
    return lines
