"""`cxrssl cohort`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace, print_summary


def cohort(
    name: Annotated[str, typer.Argument(help="Cohort; may be left out when there is only one.")] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show a cohort: films seen, accepted and rejected, link status, unknown features, splits.

    Example: cxrssl cohort mimic
    """
    from cxrssl.cli.ingest import describe_cohort
    from cxrssl.core.artefact import open_artefact

    folder = open_artefact(open_workspace(workspace).find_cohort(name), "cohort", verify=False).path
    values = json.loads((folder / "summary.json").read_text())
    print_summary(values, as_json, describe_cohort(values))
