"""`cxrssl predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.completion import complete_cohort, complete_run
from cxrssl.cli.external import NO_FILES, ExternalOptions, takes_external
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    WorkspacePath,
    narrate,
    open_workspace,
    print_summary,
)
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, plain


@takes_external(has_seen_films=False)
def predict(
    run: Annotated[
        str,
        typer.Argument(help="Run id or the beginning of one, or the id of an evaluation.", autocompletion=complete_run),
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of PNG, JPEG or DICOM films; left out with --cohort.")
    ] = None,
    cohort: Annotated[
        str,
        typer.Option(help="Cohort to predict, in place of a folder.", metavar="NAME", autocompletion=complete_cohort),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="File, .csv or .parquet; exports/RUN-predicts-FOLDER.csv when left out.", metavar="FILE"),
    ] = None,
    ids: Annotated[
        str,
        typer.Option(help="Of a cohort: pseudonyms, or dataset, the dataset's own ids.", metavar="NAME"),
    ] = "pseudonyms",
    workers: Annotated[int, typer.Option(help="Processes that decode films; 0: one for each core.", metavar="N")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    files: ExternalOptions = NO_FILES,
    device: DeviceName = "auto",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Apply the probe that `cxrssl probe` fitted to new films, and write a row of scores for each.

    RUN is a run or an evaluation of any encoder; of one that others trained, --external names its files again.

    Example: cxrssl predict mimic-msn new-films/ --out scores.csv
    """
    from cxrssl.evaluate.before import check_files
    from cxrssl.export.chosen import PredictChoices, choose_probe
    from cxrssl.export.ids import parse_ids
    from cxrssl.recipe.load import load_machine

    if bool(cohort) == (folder is not None):
        raise UsageError(
            "films are in a folder or in a cohort: name one of the two",
            hint="cxrssl predict RUN FOLDER",
        )
    if folder is not None and ids != "pseudonyms":
        raise UsageError("--ids has no effect on a folder, whose films are called as their files", hint="omit --ids")
    place = load_machine(device=device).device
    files.check_alone()
    if files.path is not None:
        check_files(files.path, None)
    choices = PredictChoices(folder, cohort, out, parse_ids(ids), place, force, workers, files.path is not None)
    opened = open_workspace(workspace)
    chosen = choose_probe(opened, run, choices)
    narrate(f"load torch to predict films of {cohort or folder}")
    from cxrssl.export.predict import predict_films

    made = predict_films(opened, chosen, choices, files.choices() if files.path else None)
    summary = {
        "file": str(made.path),
        "eval_id": made.eval_id,
        "films": made.num_films,
        "findings": list(made.findings),
        "not_decoded": made.counts,
        "faults": made.faults,
        "without_threshold": made.without_points,
        "without_calibration": made.without_map,
    }
    scored = count_noun(made.num_films - len(made.faults), "film")
    lines = [f"{made.path} written: {scored} scored for {count_noun(len(made.findings), 'finding')}"]
    lines.append(f"probe of evaluation {made.eval_id}")
    if made.faults:
        counts = ", ".join(f"{num:,} {rule}" for rule, num in made.counts.items())
        lines.append(f"{count_noun(len(made.faults), 'film')} without scores: {counts}")
        lines.append("they are named in the file, with the reason in the column fault")
    lines += _name_absent("threshold", made.without_points) + _name_absent("calibration", made.without_map)
    print_summary(summary, as_json, lines)


def _name_absent(what: str, whys: dict[str, str]) -> list[str]:
    """Return a line for each reason why findings have no threshold or calibration."""
    by_reason: dict[str, list[str]] = {}
    for name, why in whys.items():
        by_reason.setdefault(why, []).append(plain(name, 60))
    return [f"no {what}, because {why}: {', '.join(names)}" for why, names in by_reason.items()]
