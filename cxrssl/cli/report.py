"""`cxrssl report`."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrssl.cli import completion
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    SmallCellsChoice,
    WorkspacePath,
    open_workspace,
    print_summary,
)


def report(
    runs: Annotated[
        str,
        typer.Option(
            help="Only these runs, ids or their beginnings, with baselines.",
            metavar="RUN,RUN",
            autocompletion=completion.complete_run,
        ),
    ] = "",
    cohort: Annotated[
        str,
        typer.Option(help="Only what is of this cohort.", metavar="NAME", autocompletion=completion.complete_cohort),
    ] = "",
    ablation: Annotated[str, typer.Option(help="Only the runs of this ablation.", metavar="NAME")] = "",
    baseline: Annotated[
        str,
        typer.Option(
            help="Subtract this run, with its other seeds, or arm of an ablation in forests and tables.",
            metavar="RUN|ARM",
            autocompletion=completion.complete_run,
        ),
    ] = "",
    finished: Annotated[
        bool, typer.Option("--finished", help="Leave out runs that are broken, died or did not finish.")
    ] = False,
    figures: Annotated[bool, typer.Option(help="Draw figures; --no-figures draws the flow of films alone.")] = True,
    figure_width: Annotated[
        str, typer.Option(help="Of figures in print: page, 7 inches, or column, 3.5.", metavar="CHOICE")
    ] = "page",
    name: Annotated[str, typer.Option(help="Folder of the report under reports/.")] = "latest",
    small_cells: SmallCellsChoice = "hide",
    tsne: Annotated[
        bool, typer.Option("--tsne", help="Add features of test films by t-SNE, which takes seconds.")
    ] = False,
    show_films: Annotated[
        bool, typer.Option("--show-films", help="Add figures of films, which must not be shared.")
    ] = False,
    checklist: Annotated[
        str, typer.Option(help="Write nothing; fill a checklist, claim or tripod-ai, from records.", metavar="NAME")
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing; trace every number to the films by its hashes.")
    ] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print and write tables of all probed runs and baselines, with intervals and paired differences.

    It writes report.html, report.md, report.tex, figures and CSV into reports/NAME/.

    Example: cxrssl report
    """
    import gc

    gc.disable()  # nothing of what modules hold is ever garbage, and looking at it again and again takes its time
    import shutil

    from cxrssl.core.workspace import check_name
    from cxrssl.report.choose import Choice
    from cxrssl.report.figures.width import parse_width
    from cxrssl.report.formats.terminal import write_terminal
    from cxrssl.report.small import parse_small_cells
    from cxrssl.report.write import write_report

    gc.enable()
    if verify:
        from cxrssl.cli.traced import print_trace

        print_trace(open_workspace(workspace), as_json)
        return
    small = parse_small_cells(small_cells)
    named = tuple(filter(None, (each.strip() for each in runs.split(","))))
    choice = Choice(named, cohort, ablation, finished, baseline)
    if checklist:
        from cxrssl.cli.filled import print_checklist

        print_checklist(open_workspace(workspace), checklist, small, choice, as_json)
        return
    width = parse_width(figure_width)
    place, folder = open_workspace(workspace), check_name(name, "report")
    written = write_report(place, folder, small, choice, figures, show_films, width, tsne)
    if as_json:
        damage = [each.sentence for each in written.damage]
        print_summary({"folder": str(written.folder), "markdown": written.markdown, "damage": damage}, True, [])
    else:
        typer.echo(write_terminal(written.document, shutil.get_terminal_size().columns))
        typer.echo(f"written to {written.folder}", err=True)
