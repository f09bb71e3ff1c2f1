"""t-SNE of a report: which groups have a colour, what is said of it, and nothing where it was not asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from cxrssl.cohort.read import Cohort
from cxrssl.core.workspace import Workspace
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.plan_tsne import CAUTION, _list_panels, plan_tsne
from cxrssl.report.figures.scatter import OTHER, ScatterFigure, ScatterPanel
from cxrssl.report.figures.width import drawn_as
from tests.hostile import hostile_texts
from tests.report.figures.material import make_material
from tests.report.figures.svg import check_layout, parse, texts_of
from tests.report.test_report import make_evaluation

NUM = 60


def cohort(labels: Any, sexes: Any) -> Cohort:
    """A cohort of a film a subject, with a finding for each column of labels; sex is unknown where it is -1."""
    labels_NL, sex_N = np.array(labels).T, np.array(sexes)
    return cast(
        Cohort,
        SimpleNamespace(
            subject_id=np.arange(len(sex_N)).astype(str),
            finding_names=np.array([f"F{k}" for k in range(labels_NL.shape[1])]),
            labels=lambda names: labels_NL,
            names=("sex",),
            column_of=lambda name: 0,
            ehr_known=(sex_N >= 0)[:, None],
            ehr_values=np.maximum(sex_N, 0)[:, None],
        ),
    )


def panels_of(labels: Any, sexes: Any, small: Any = "hide") -> dict[str, ScatterPanel]:
    made = cohort(labels, sexes)
    return {panel.title: panel for panel in _list_panels(made, np.arange(len(made.subject_id)), small)}


def test_the_commonest_findings_and_known_attributes_are_panels() -> None:
    def finding(num: int) -> list[int]:
        return [1] * num + [0] * (NUM - num)

    found = panels_of([finding(num) for num in (20, 30, 15, 25, 3)], [0] * 30 + [1] * 30)
    assert list(found) == ["F1", "F3", "F0", "Sex"]
    assert found["F1"].groups == ("with", "without")
    assert np.bincount(found["F1"].group_of).tolist() == [30, 30]
    assert set(found["Sex"].groups) == {"male", "female"}


@pytest.mark.parametrize(
    ("num_pos", "num_unknown", "is_there"),
    [(9, 0, False), (10, 0, True), (20, 9, False), (20, 10, True), (51, 0, False)],
)
def test_few_subjects_have_no_colour_and_no_grey(num_pos: int, num_unknown: int, is_there: bool) -> None:
    labels = [1] * num_pos + [-1] * num_unknown + [0] * (NUM - num_pos - num_unknown)
    assert ("F0" in panels_of([labels], [-1] * NUM)) is is_there
    shown = panels_of([labels], [-1] * NUM, "show")["F0"]
    assert (shown.group_of == OTHER).sum() == num_unknown


def figure(names: tuple[str, ...] = ("with", "without")) -> ScatterFigure:
    rng = np.random.default_rng(0)
    panels = tuple(
        ScatterPanel(title, names, np.arange(NUM), rng.integers(-1, len(names), NUM))
        for title in ("Enlarged Cardiomediastinum", "Edema", "Pneumonia", "View", "Sex")
    )
    return ScatterFigure(
        f"t-SNE of features of test films by {'MSN ' * 30}", rng.normal(size=(NUM, 2)), panels, (CAUTION,)
    )


@pytest.mark.parametrize("width", ["page", "column"])
def test_nothing_overlaps_and_no_axis_has_a_number(width: Any) -> None:
    with drawn_as(width):
        svg = draw_figure(figure(), "tsne", ["svg"])["svg"]
    check_layout(svg)
    shown = texts_of(svg)
    assert shown.count("with") == shown.count("other or unknown in grey") == 5
    assert CAUTION in " ".join(shown)
    assert not [text for text in shown if text.replace("−", "").replace(".", "").isdigit()]


def test_hostile_names_are_texts() -> None:
    parse(draw_figure(figure((*hostile_texts(40, 5)[36:],)), "tsne", ["svg"])["svg"])


def test_it_is_drawn_where_it_was_asked_for_and_there_are_features(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "run")
    material = make_material(workspace)
    assert plan_tsne(material) == []
    assert plan_tsne(replace(material, embedded=workspace)) == []
