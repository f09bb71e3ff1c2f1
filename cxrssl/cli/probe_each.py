"""What `cxrssl probe` does once torch is loaded: one cohort after another is probed on, and printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from cxrssl.cli.curves import list_curves
from cxrssl.cli.external import ExternalOptions
from cxrssl.cli.lines import terminal_width
from cxrssl.cli.options import narrate, print_summary
from cxrssl.cli.probed import Probed
from cxrssl.core.errors import LeakageError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.before import Wanted
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.evaluate.transfer import carry_probe, external_maker, run_maker
from cxrssl.records.eval_settings import ProbeSettings


def probe_each(
    workspace: Workspace,
    wanted: Wanted,
    cohorts: Sequence[str],
    files: ExternalOptions,
    settings: ProbeSettings,
    choices: ProbeChoices,
    as_json: bool,
) -> None:
    """Probe on each cohort, and print what is found: as text at once, as one JSON object also when a later one fails.

    Raises: LeakageError when a cohort is refused, once the others are probed.
    """
    summary: dict[str, Any] = {}
    refused: list[LeakageError] = []
    try:
        for name in cohorts:
            if len(cohorts) > 1:
                narrate(f"probe on cohort {name}")
            try:
                probed = _probe_on(workspace, replace(wanted, cohort=name), files, settings, choices)
            except LeakageError as error:
                if len(cohorts) > 1:
                    error.what = f"cohort {plain(name, 80)}: {error.what}"
                refused.append(error)
                continue
            _add(summary, probed.summarise())
            if not as_json:
                head = [f"On cohort {plain(name, 80)}:"] if len(cohorts) > 1 else []
                print_summary({}, as_json, [*head, *probed.describe(terminal_width()), *([""] if head else [])])
    finally:
        if as_json and summary:
            print_summary(summary, as_json, [])
    for each in refused[:-1]:
        typer.echo(f"cxrssl: note: {each.what}", err=True)
    if refused:
        raise refused[-1]


def _add(summary: dict[str, Any], found: dict[str, Any]) -> None:
    """Add the numbers of a cohort to those of others, whose learning curves stand under one word."""
    curves = {**summary.get("learning", {}), **found.get("learning", {})}
    summary.update(found, **({"learning": curves} if curves else {}))


def _probe_on(
    workspace: Workspace, wanted: Wanted, files: ExternalOptions, settings: ProbeSettings, choices: ProbeChoices
) -> Probed:
    """Return the evaluations on one cohort, of a run or an encoder of others, and the probe in other cohorts."""
    if files.path:
        encoder, seen = files.choices(), files.seen_films
        found = probe_external(workspace, encoder, seen, wanted.cohort, wanted.split, settings, choices)
    else:
        found = probe_run(workspace, wanted.run_id, wanted.cohort, wanted.split, settings, choices)
    transfers = []
    if wanted.elsewhere:
        maker = (
            external_maker(workspace, files.choices(), files.seen_films, choices.device, choices.num_gpus)
            if files.path
            else run_maker(workspace, found[0], choices.device, choices.num_gpus)
        )
        transfers = carry_probe(workspace, found[0], wanted.elsewhere, maker, choices)
    return Probed(workspace, found, transfers, list_curves(workspace, found) if choices.fractions else [])
