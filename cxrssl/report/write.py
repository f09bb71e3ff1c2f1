"""Write a report: one document in the formats that people read, and CSV with every number for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage
from cxrssl.report.choose import Choice
from cxrssl.report.compose import compose
from cxrssl.report.conditions import conditions_as
from cxrssl.report.document import Document
from cxrssl.report.figures.width import FigureWidth
from cxrssl.report.formats.csv import write_csv
from cxrssl.report.formats.html import write_html
from cxrssl.report.formats.markdown import write_markdown
from cxrssl.report.formats.tex import write_table as write_tex_table
from cxrssl.report.formats.tex import write_tex
from cxrssl.report.gather import gather
from cxrssl.report.numbers import list_numbers
from cxrssl.report.pictures import KIND, Pictures, draw_pictures
from cxrssl.report.small import DIGITS, HiddenCount, SmallCells
from cxrssl.report.tables import ReportTable
from cxrssl.results.store import fold_store

TABLES = "tables"
"""Folder of the tables of the page, each as CSV and as a fragment of LaTeX."""


@dataclass(frozen=True)
class Report:
    folder: Path
    document: Document
    damage: tuple[Damage, ...]
    """Runs, evaluations, comparisons and the like that it could not use, or not in full; it names them."""

    @cached_property
    def markdown(self) -> str:
        return write_markdown(self.document)


def write_report(
    workspace: Workspace,
    name: str = "latest",
    small: SmallCells = "hide",
    choice: Choice | None = None,
    has_figures: bool = False,
    shows_films: bool = False,
    width: FigureWidth = "page",
    has_tsne: bool = False,
) -> Report:
    """Publish `reports/<name>/` over what was chosen, all that is published by default, and fold the store.

    It holds report.html, report.md and report.tex; every table of these in tables/ as CSV and as a fragment of LaTeX;
    the flow of films and, with `has_figures`, every other figure, as wide as `width` says, those that show films of
    patients only where `shows_films`; and in CSV files beside them every number in full, see `report.numbers`. Counts
    of fewer than ten subjects and ids in conditions are hidden, and groups of so few left out, unless `small` says
    otherwise: see `small` and `conditions`.
    The same store gives the same bytes.

    Raises: DataError when nothing was probed yet, or nothing that was can be read; UsageError for a choice of what is
    not there.
    """
    with conditions_as(small):
        return _write_report(workspace, name, small, choice or Choice(), has_figures, shows_films, width, has_tsne)


def _write_report(
    workspace: Workspace,
    name: str,
    small: SmallCells,
    choice: Choice,
    has_figures: bool,
    shows_films: bool,
    width: FigureWidth,
    has_tsne: bool,
) -> Report:
    gathered = gather(workspace, choice)
    folder = workspace.reports / name
    pictures = draw_pictures(gathered, small, folder, shows_films, width, has_tsne) if has_figures else Pictures()
    words = ["cxrssl report", *choice.to_words()]
    words += ["--small-cells", small] if small != "hide" else []
    words += ["--figure-width", width] if width != "page" else []
    switches = {"--no-figures": not has_figures, "--tsne": has_tsne, "--show-films": shows_films}
    words += [word for word, is_on in switches.items() if is_on]
    document = compose(gathered, small, pictures, " ".join(words))
    chosen = [each.eval_id for each in gathered.chosen.evaluations]
    said = {"chosen": choice.to_dict(), "shows_films": shows_films}
    settings = {"evaluations": chosen, "small_cells": small, **{key: each for key, each in said.items() if each}}
    report = Report(folder, document, gathered.chosen.damage)
    files = list_files(document, list_numbers(gathered, small))
    with publish(folder, KIND, settings, pictures.keys) as building:
        (building / TABLES).mkdir()
        for file, content in files.items():
            write_bytes(building / file, content)
    fold_store(workspace, gathered.published)
    return report


def list_files(document: Document, numbers: Mapping[str, ReportTable]) -> dict[str, bytes]:
    """Return the content of each file of a report by its path in it.

    Where a count is hidden, no number of a file has more digits than people read: an AUROC in full is a fraction that
    tells how many films there are with the finding and without it.
    """
    tables = [*document.tables, *numbers.values()]
    is_hidden = any(isinstance(cell, HiddenCount) for table in tables for row in table.rows for cell in row)
    digits = DIGITS if is_hidden else None
    texts = {
        "report.html": write_html(document),
        "report.md": write_markdown(document),
        "report.tex": write_tex(document, TABLES),
        **{file: write_csv(table, digits) for file, table in numbers.items()},
    }
    for table in document.tables:
        name = document.table_name(table)
        texts[f"{TABLES}/{name}.csv"] = write_csv(table, digits)
        texts[f"{TABLES}/{name}.tex"] = write_tex_table(table, name)
    figures = {file: content for figure in document.figures for file, content in figure.files().items()}
    return {**{file: text.encode() for file, text in texts.items()}, **figures}
