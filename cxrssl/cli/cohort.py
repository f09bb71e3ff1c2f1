"""`cxrssl cohort`: a published cohort shown, checked and handed on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace, print_summary

CohortArgument = Annotated[str, typer.Argument(help="Cohort; may be left out when there is only one.")]

app = typer.Typer(
    help="Show, audit and export cohorts.\n\nExample: cxrssl cohort show mimic",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def show(
    name: CohortArgument = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show a cohort: films seen, accepted and rejected, link status, unknown features, splits.

    Example: cxrssl cohort show mimic
    """
    from cxrssl.cli.ingest import describe_cohort
    from cxrssl.core.artefact import open_artefact

    folder = open_artefact(open_workspace(workspace).find_cohort(name), "cohort", verify=False).path
    values = json.loads((folder / "summary.json").read_text())
    print_summary(values, as_json, describe_cohort(values))
