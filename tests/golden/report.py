"""A small report in every format, as golden files.

As a script, `python -m tests.golden.report` or `just report-texts`, it writes them anew: do that where a change of a
format was meant, and read the difference.
"""

from __future__ import annotations

import math
from pathlib import Path

from cxrssl.report.cells import Cell, Estimate, Number
from cxrssl.report.document import Code, Document, Fact, Figure, Item, Line, Listing, Paragraph, Section, Strong
from cxrssl.report.formats.terminal import write_terminal
from cxrssl.report.small import HiddenCount
from cxrssl.report.tables import ReportTable
from cxrssl.report.write import list_files
from cxrssl.stats.resample import Interval

FOLDER = Path(__file__).parent / "report"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8"/></svg>'
UNDEFINED = Interval(math.nan, math.nan, math.nan, 0)
ODD = 'Edema & "mass" <b>50 %</b> $x_1$ \\alpha {a} =1+1 [link](http://x) | `code` #1 ~ ^ naïve 名'


def make_document() -> Document:
    """Return a document with every kind of block, cell and mark."""
    scores = Section(
        "Cohort demo (f05592b6), split official",
        [
            _main_table(),
            Figure("forest-demo", "Differences to vanilla.", "One row: +0.010 [-0.020, +0.040].", SVG),
            Section("By finding", [_finding_table()], is_detail=True),
        ],
    )
    damage = Listing([Item(["run ", Code("a-b"), ": run.json is not JSON"], [Item("a line below it")])], "warning")
    facts = [
        Fact("Selected on", ["test: heads of protocol ", Code("peer"), ", whose scores are too high"]),
        Fact("Cohorts", ["demo (", Code("f05592b6"), "), unverified"]),
        Fact("Odd name", ODD),
    ]
    answer: list[Line] = [[Strong("Cohort demo: "), "MSN + demo macro AUROC 0.734 [0.704, 0.764]."]]
    blocks = [
        Section("Not read, or not in full", [damage]),
        Section("Ablations", [Paragraph([Strong("Primary comparison: +0.062 [+0.000, +0.125]")])]),
        scores,
        Section("About this report", [Paragraph("How numbers were made.", "note"), Paragraph(ODD, "warning")]),
    ]
    return Document(
        "Report on cohort demo", ["selected on: test, by protocol ", Code("peer"), "."], facts, blocks, answer
    )


def _main_table() -> ReportTable:
    difference = Estimate(Interval(0.01, -0.02, 0.04, 1000), is_difference=True, remark="one seed", p_holm=0.01)
    rows: list[list[Cell]] = [
        ["MSN + demo, view (vit-micro, 24 epochs)", "0, 1", _estimate(0.7342), Number(0.0125), 378, difference],
        ["MSN (vit-micro, 24 epochs)", "0 (one seed)", _estimate(0.70149, num_rarer=4), "", HiddenCount(4), ""],
        [ODD, "", Estimate(UNDEFINED), Number(math.nan), 0, ""],
        ["by others", "", _estimate(0.91), "", 1204, ""],
    ]
    columns = ("Features", "Seeds", "AUROC", "SD over seeds", "Films", "AUROC - vanilla")
    notes: list[Line] = ["*: fewer than 10 subjects.", ["Heads by protocol ", Code("peer"), "."]]
    title = "Probe on cohort demo (f05592b6), split official"
    return ReportTable(title, columns, rows, notes, short="Runs and baselines", compared=[2], quoted=[3])


def _finding_table() -> ReportTable:
    names = [f"candidate {number} (vit-micro, 24 epochs)" for number in range(7)]
    rows: list[list[Cell]] = [
        [finding, "12 / 378", *(_estimate(0.6 + 0.01 * (at + row)) for at in range(len(names)))]
        for row, finding in enumerate(("Edema", "Enlarged Cardiomediastinum"))
    ]
    columns = ["Finding", "Positive / scored", *names]
    title = "AUROC by finding: cohort demo"
    return ReportTable(title, columns, rows, short="AUROC by finding", rivals=range(2, len(columns)))


def _estimate(value: float, num_rarer: int = 40) -> Estimate:
    return Estimate(Interval(value, value - 0.03, value + 0.03, 1000, 1000, num_rarer))


def make_files() -> dict[str, bytes]:
    """Return the files of the report, and what a terminal of 80 and of 120 columns shows, by name."""
    document = make_document()
    files = {path.replace("/", "-"): content for path, content in list_files(document, {}).items()}
    shown = {f"terminal-{width}.txt": write_terminal(document, width).encode() for width in (80, 120)}
    return {**files, **shown}


def write() -> None:
    """Write the golden files, and remove those that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, content in make_files().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    write()
