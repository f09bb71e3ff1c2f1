"""`cxrssl report`."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    SmallCellsChoice,
    WorkspacePath,
    open_workspace,
    print_summary,
)


def report(
    name: Annotated[str, typer.Option(help="Folder of the report under reports/.")] = "latest",
    small_cells: SmallCellsChoice = "hide",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print and write the table of all probed runs and baselines, with intervals and paired differences.

    Example: cxrssl report
    """
    import gc

    gc.disable()  # nothing of what modules hold is ever garbage, and looking at it again and again takes its time
    from cxrssl.core.workspace import check_name
    from cxrssl.report.small import parse_small_cells
    from cxrssl.report.write import write_report

    gc.enable()
    small = parse_small_cells(small_cells)
    written = write_report(open_workspace(workspace), check_name(name, "report"), small)
    if as_json:
        damage = [each.sentence for each in written.damage]
        print_summary({"folder": str(written.folder), "markdown": written.markdown, "damage": damage}, True, [])
    else:
        typer.echo(written.markdown)
        typer.echo(f"written to {written.folder}", err=True)
