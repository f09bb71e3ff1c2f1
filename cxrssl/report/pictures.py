"""The figures of a report, drawn anew only where the last report of that name holds another.

In: what was gathered, the folder of the report. Out: figures by name, with the key of each. Never: a figure of a file
that is not as it was published, or a report that fails for a figure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxrssl.core.artefact import Artefact, open_artefact
from cxrssl.core.errors import CxrsslError, IntegrityError
from cxrssl.core.text import plain
from cxrssl.report.document import Block, Figure, Paragraph
from cxrssl.report.figures.list import plan_figures
from cxrssl.report.figures.plan import Material, Plan, explain_missing, is_installed
from cxrssl.report.figures.plan_flow import plan_flow
from cxrssl.report.figures.series import find_arms
from cxrssl.report.figures.width import FigureWidth, drawn_as
from cxrssl.report.gather import MISSHAPEN, Gathered
from cxrssl.report.small import SmallCells

KIND = "report"
KEY = "figure "
"""Before the name of a figure among the inputs of a report."""
ENDINGS = ("svg", "pdf", "png")


@dataclass(frozen=True)
class Pictures:
    """What stands for each figure, by its name."""

    blocks: Mapping[str, Block] = field(default_factory=dict)
    """A Figure, or the paragraph that says why it could not be drawn."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """By the name of an input of the report; see `figures.plan`."""


def draw_pictures(
    gathered: Gathered,
    small: SmallCells,
    folder: Path,
    shows_films: bool = False,
    width: FigureWidth = "page",
    has_tsne: bool = False,
) -> Pictures:
    """Return the figures of a report that will lie in `folder`; those that show films only where `shows_films`."""
    with drawn_as(width):
        return _draw_pictures(gathered, small, folder, shows_films, has_tsne)


def _draw_pictures(gathered: Gathered, small: SmallCells, folder: Path, shows_films: bool, has_tsne: bool) -> Pictures:
    chosen = gathered.chosen
    material = Material(
        tables=gathered.tables,
        averages=gathered.averages,
        differences=gathered.differences,
        ablations=chosen.ablations,
        small=small,
        arms=find_arms(chosen.ablations),
        runs={each.run_id: each.folder for each in chosen.runs},
        curves=gathered.curves,
        numbers=gathered.numbers,
        pin=gathered.pin,
        films=gathered.workspace if shows_films else None,
        embedded=gathered.workspace if has_tsne else None,
    )
    plans: list[Plan] = [*plan_figures(material)]
    if not is_installed():
        return Pictures({"": Paragraph(explain_missing(), "note")} if plans else {})
    plans += [plan_flow(name, flow.hide_small(small)) for name, flow in gathered.flows.items()]
    # Else matplotlib keeps its list of fonts in the home of the user.
    os.environ.setdefault("MPLCONFIGDIR", str(gathered.workspace.root / "compiled" / "matplotlib"))
    last = _open_last(folder)
    blocks = {plan.name: _find_figure(plan, last) or _draw(plan) for plan in plans}
    keys = {f"{KEY}{plan.name}": plan.key for plan in plans if isinstance(blocks[plan.name], Figure)}
    return Pictures(blocks, keys)


def _open_last(folder: Path) -> Artefact | None:
    try:
        return open_artefact(folder, KIND)
    except (CxrsslError, OSError):
        return None


def _find_figure(plan: Plan, last: Artefact | None) -> Figure | None:
    """Return a figure of the last report, None where that has another or not all of its files."""
    if last is None or last.inputs.get(f"{KEY}{plan.name}") != plan.key:
        return None
    paths = [last.path / f"{plan.name}.{ending}" for ending in ENDINGS]
    if any(path.name not in last.manifest["files"] for path in paths):
        return None
    try:
        svg, pdf, png = (path.read_bytes() for path in paths)
    except OSError:
        return None
    return Figure(plan.name, plan.title, plan.alt, svg, pdf, png)


def _draw(plan: Plan) -> Block:
    try:
        return plan.make()
    except (IntegrityError, *MISSHAPEN) as error:
        what = error.what if isinstance(error, CxrsslError) else f"{type(error).__name__}: {plain(error, 200)}"
        return Paragraph(f"Not drawn: {plan.title} {what}.", "warning")
