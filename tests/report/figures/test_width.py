"""Figures as wide as a column of a paper: nothing is cut, overlaps or is smaller than six points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.forest import Forest, ForestRow, ForestSection
from cxrssl.report.figures.lines import LineFigure, LinePanel
from cxrssl.report.figures.plan import split_panels
from cxrssl.report.figures.reliability import ReliabilityFigure, ReliabilityPanel, ReliabilityPoint
from cxrssl.report.figures.width import drawn_as, parse_width, width_in
from cxrssl.report.write import write_report
from cxrssl.stats.resample import Interval
from tests.report.figures.svg import check_layout, size_of, texts_of
from tests.report.figures.test_flow_page import FLOW
from tests.report.figures.test_lines import LINE, SECOND
from tests.report.figures.test_panels import LONG, roc
from tests.report.test_report import make_evaluation

NUMBER = Interval(-0.123, -0.234, 0.012, 1000, 1000, 5)
REMARKS = ("12 / 188", "about 40, 0.700", "3", "")
FORESTS = tuple(
    Forest(
        f"AUROC of {LONG}, seed 0) minus pixels, by finding",
        "Difference in AUROC",
        tuple(
            ForestSection(
                heading,
                tuple(
                    ForestRow(label, NUMBER, remark, by_seed=(-0.2, 0.0), is_primary=k == 0)
                    for k, label in enumerate(("Edema", f"{LONG}, seed 1)", "Enlarged Cardiomediastinum"))
                ),
            )
            for heading in ("", "Primary comparison, declared beforehand: cohort mimic-cxr (3,403 films, 293 subjects)")
        ),
        "subjects with / without" if remark else "",
        0.01,
        ("A note. " * 30,),
        ("random-init vit-tiny better", "better"),
    )
    for remark in REMARKS
)
POINTS = (ReliabilityPoint((0.1, 0.2), 0.15, 0.1, 0.2), ReliabilityPoint((0.4, 0.3), 0.35, 0.3, 0.5))
RELIABILITY = ReliabilityFigure(
    "Reliability of MSN, seed 0: 400 films of 200 test subjects",
    ("as fitted", "after Platt's map"),
    tuple(
        ReliabilityPanel(name, "43 / 85", ((0, "slope 0.82 [0.61, 1.12]"), (1, "slope 1.02 [0.91, 1.22]")), POINTS)
        for name in ("Edema", "Enlarged Cardiomediastinum", "No Finding")
    ),
    ("Groups of a tenth of the films.",),
)
LINES = LineFigure(
    "Training: cohort mimic, split official",
    (f"{LONG}, 3 seeds)", "MSN"),
    "Step",
    tuple(LinePanel(title, (LINE, SECOND)) for title in ("Loss", "Effective rank of features", "Uniformity")),
    notes=("One line a seed.",),
)
FIGURES = {
    **{f"forest-{k}": forest for k, forest in enumerate(FORESTS)},
    **{f"roc-{num}": roc(num, (f"{LONG}, seed 0)", "pixels")) for num in (0, 1, 2, 5, 6)},
    "reliability": RELIABILITY,
    "lines": LINES,
    "flow": FLOW,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_as_wide_as_a_column_is_whole_and_can_be_read(name: str) -> None:
    with drawn_as("column"):
        svg = draw_figure(FIGURES[name], name, ["svg"])["svg"]
    check_layout(svg)
    assert size_of(svg)[0] == 3.5 * 72
    assert size_of(svg)[1] < 9.5 * 72, "higher than a column"
    assert min(float(each) for each in re.findall(r"([\d.]+)px", svg.decode())) >= 6
    assert width_in() == 7


def test_a_column_has_fewer_panels_and_rows() -> None:
    rows = tuple(ForestRow(f"row {k}", NUMBER) for k in range(60))
    forest = Forest("t", "x", (ForestSection("", rows),))
    with drawn_as("column"):
        assert [len(each) for each in split_panels(list(range(14)))] == [6, 6, 2]
        pages = forest.split()
        assert [row for page in pages for row in page.rows] == list(rows)
        assert size_of(draw_figure(pages[0], "f", ["svg"])["svg"])[1] < 9.5 * 72


def test_a_report_has_its_figures_in_the_width_that_is_asked_for(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "run", skill=2.0)
    make_evaluation(workspace, "pixels", kind="pixels", skill=1.0)
    page = write_report(workspace, has_figures=True).document
    column = write_report(workspace, has_figures=True, width="column")
    again = write_report(workspace, has_figures=True, width="column").document
    forests = [each for each in (*page.figures, *column.document.figures) if each.name.startswith("forest-mimic")]
    assert [size_of(each.svg)[0] for each in forests] == [7 * 72, 3.5 * 72]
    assert texts_of(forests[0].svg)[0] in " ".join(texts_of(forests[1].svg))
    assert [each.files() for each in again.figures] == [each.files() for each in column.document.figures]
    assert "--figure-width column" in column.markdown
    tex = (column.folder / "report.tex").read_text()
    assert rf"\includegraphics[width=3.5in,height=0.8\textheight,keepaspectratio]{{{forests[1].name}.pdf}}" in tex


def test_another_word_for_the_width_is_refused() -> None:
    assert parse_width("column") == "column"
    with pytest.raises(UsageError, match='--figure-width is "colum"') as caught:
        parse_width("colum")
    assert "column" in caught.value.hint
