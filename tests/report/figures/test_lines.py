"""Lines in panels: learning curves and curves of training, from plain numbers and from a workspace."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.lines import Line, LineFigure, LinePanel
from cxrssl.report.figures.plan_learning import plan_learning
from cxrssl.report.figures.plan_training import MAX_POINTS, plan_training
from tests.evaluate.test_groups import make_arm
from tests.hostile import hostile_texts
from tests.report.figures.material import make_material
from tests.report.figures.svg import check_layout, parse, texts_of
from tests.report.test_report import make_evaluation

LINE = Line(
    0, (0.01, 0.1, 1.0), (0.5, 0.6, 0.7), (0.4, 0.5, 0.6), (0.6, 0.7, 0.8), (True, False, False), ((0.1, 0.55),)
)
SECOND = Line(1, (0.01, 0.1), (0.45, math.nan))


def figure(num: int, *lines: Line, names: tuple[str, ...] = ("MSN", "pixels")) -> LineFigure:
    panels = tuple(LinePanel(f"Metric {k}", lines, "detail") for k in range(num))
    return LineFigure(
        "Learning curves", names, "Share", panels, (0.01, 0.1, 1.0), ("1 %", "10 %", "100 %"), True, ("n",)
    )


def svg_of(made: LineFigure) -> bytes:
    return draw_figure(made, "lines", ["svg"])["svg"]


def test_ticks_are_the_shares_and_marks_of_few_subjects_are_open() -> None:
    svg = svg_of(figure(1, LINE, SECOND))
    shown = texts_of(svg)
    assert {"1 %", "10 %", "100 %", "Share", "Metric 0", "MSN", "pixels"} <= set(shown)
    assert b"stroke-dasharray" in svg
    check_layout(svg)


@pytest.mark.parametrize("num", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("lines", [(), (LINE,), (LINE, SECOND)])
def test_nothing_overlaps_or_is_cut(num: int, lines: tuple[Line, ...]) -> None:
    check_layout(svg_of(figure(num, *lines)))


def test_labels_of_crowded_shares_give_way_to_the_larger_ones() -> None:
    shares = (0.01, 0.012, 0.8, 0.9, 0.95, 1.0)
    labels = tuple(f"{100 * share:g} %" for share in shares)
    panels = tuple(LinePanel(f"m{k}", (Line(0, shares, (0.5,) * 6),)) for k in range(4))
    svg = svg_of(LineFigure("t", ("a",), "x", panels, shares, labels, True))
    check_layout(svg)
    shown = texts_of(svg)
    assert shown.count("100 %") == 4
    assert "95 %" not in shown


def test_hostile_names_are_texts() -> None:
    first, second = hostile_texts(40, 5)[38:]
    panels = (LinePanel("$x$", (LINE,)),)
    svg = svg_of(LineFigure("`t`", (first, second), "\\x", panels))
    parse(svg)
    assert {"$x$", "`t`", "\\x"} <= set(texts_of(svg))


def test_learning_has_a_point_for_each_share_with_its_draws(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    same: dict[str, Any] = {"label": "MSN", "candidate": CandidateSettings(()), "candidate_id": "run"}
    make_evaluation(workspace, "all", **same)
    for share, draw in ((0.05, 0), (0.05, 1), (0.5, 0)):
        probe = ProbeSettings(num_resamples=100, fraction=share, draw=draw)
        make_evaluation(workspace, f"share-{share:g}-{draw}", skill=share, probe=probe, **same)
    material = make_material(workspace)
    (plan,) = plan_learning(material)
    made = plan.collect()
    assert isinstance(made, LineFigure)
    assert [panel.title for panel in made.panels] == ["Macro AUROC", "Macro AUPRC"]
    assert made.tick_labels == ("5 %", "50 %", "100 %")
    (line,) = made.panels[0].lines
    assert line.x == (0.05, 0.5, 1.0)
    (curve,) = material.curves
    means = [material.numbers[curve.curve_id].points[key].macro.auroc for key in ("0.05", "0.5", "1")]
    assert line.y == tuple(round(mean.value, 3) for mean in means)
    assert line.low == tuple(round(mean.lo, 3) for mean in means)
    assert [x for x, _ in line.dots] == [0.05, 0.05]
    assert means[0].interval.to_text() in plan.alt
    check_layout(plan.make(["svg"]).svg)


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_arm(workspace, "vanilla", seeds=(0, 1))
    for seed in (0, 1):
        lines = [
            {"ts": 1.0 + step, "step": step, "epoch": step / 10, "loss": 3.0 - step / 1000 + seed}
            | ({"feature_rank": 7.0} if step % 100 == 0 else {})
            for step in range(1000)
        ]
        journal = workspace.runs / f"vanilla-s{seed}" / "metrics-0001.jsonl"
        journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return workspace


def test_training_has_a_line_for_each_seed_and_metric_that_was_logged(trained: Workspace) -> None:
    (plan,) = plan_training(make_material(trained))
    made = plan.collect()
    assert isinstance(made, LineFigure)
    assert [panel.title for panel in made.panels] == ["Loss", "Effective rank of features"]
    loss, rank = made.panels
    assert [len(line.x) for line in loss.lines] == [MAX_POINTS] * 2
    assert [line.series for line in loss.lines] == [0, 0]
    assert (loss.lines[0].x[0], loss.lines[0].x[-1]) == (0, 999)
    assert loss.lines[1].y[-1] - loss.lines[0].y[-1] == pytest.approx(1.0, abs=1e-3)
    assert rank.lines[0].x == tuple(range(0, 1000, 100))
    assert rank.lines[0].y == (7.0,) * 10
    check_layout(plan.make(["svg"]).svg)


def test_training_changes_its_key_with_its_journal(trained: Workspace) -> None:
    (before,) = plan_training(make_material(trained))
    with (trained.runs / "vanilla-s0" / "metrics-0001.jsonl").open("a") as journal:
        journal.write(json.dumps({"ts": 2000.0, "step": 1000, "epoch": 100.0, "loss": 1.0}) + "\n")
    (after,) = plan_training(make_material(trained))
    assert before.name == after.name
    assert before.key != after.key


def test_runs_without_a_journal_have_no_figure(trained: Workspace) -> None:
    for journal in trained.runs.glob("*/metrics-*.jsonl"):
        journal.write_text("")
    assert plan_training(make_material(trained)) == []


def test_large_journals_are_named_and_not_read(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrssl.report.figures import plan_training as module

    small = trained.runs / "vanilla-s0" / "metrics-0001.jsonl"
    with (trained.runs / "vanilla-s1" / "metrics-0001.jsonl").open("a") as journal:
        journal.write(" " * small.stat().st_size + "\n")
    monkeypatch.setattr(module, "MAX_JOURNAL_BYTES", small.stat().st_size + 100)
    (plan,) = plan_training(make_material(trained))
    made = plan.collect()
    assert isinstance(made, LineFigure)
    assert "vanilla-s1" in made.notes[0]
    assert [len(panel.lines) for panel in made.panels] == [1, 1]
