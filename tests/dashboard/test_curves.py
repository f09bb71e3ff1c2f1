"""Curves of marked runs: panels, letters, crosshair, zoom; axes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.once import read_once
from cxrssl.dashboard.screens.curves import CurvesScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.axes import fit_x, fit_y
from cxrssl.dashboard.widgets.plot import CurvePlot
from cxrssl.dashboard.widgets.ticks import AXES
from tests.dashboard.screen import drive, press, text_of
from tests.records.folders import make_run, metric, write_lines


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    for number in range(3):
        make_run(workspace, f"run-{number}", range(100 * (number + 1)), end="finish", started_at=1e9 - number)
    write_lines(workspace.runs / "run-2" / "metrics-0001.jsonl", [metric(300, 1e9, odd_metric=1.5)])
    return workspace


def opened(pilot: Pilot[None]) -> CurvesScreen:
    screen = pilot.app.screen
    assert isinstance(screen, CurvesScreen)
    return screen


def drawn(pilot: Pilot[None]) -> list[str]:
    state = opened(pilot).state
    assert state is not None
    return [run.run_id for run in state.runs]


def test_marked_runs_are_drawn_together_with_letters_and_without_marks_the_run_at_the_cursor(
    workspace: Workspace,
) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "down", "2")
        assert "the run at the cursor" in text_of(pilot)
        assert drawn(pilot) == ["run-1"]
        await press(pilot, screen, "1", "space", "2")
        assert drawn(pilot) == ["run-1"]
        await press(pilot, screen, "1", "space", "2")
        assert "2 marked runs" in text_of(pilot)
        assert "b run-2" in text_of(pilot)
        await press(pilot, screen, "right")
        assert "loss at step" in text_of(pilot)
        await press(pilot, screen, "escape")
        assert "loss · 2 runs · over step" in text_of(pilot)

    drive(workspace, steps)


@pytest.mark.parametrize(("size", "num_seen"), [((80, 24), 1), ((120, 40), 6), ((200, 60), 6)])
def test_metrics_are_panels_as_many_as_fit(workspace: Workspace, size: tuple[int, int], num_seen: int) -> None:
    metrics = ("loss", "lr", "feature_std", "cross_entropy", "films_per_s", "odd_metric")
    view = View(marked=("run-0", "run-2"), grid=metrics)

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "2")
        panels = [panel for panel in opened(pilot).query(CurvePlot) if panel.display]
        assert len(panels) == num_seen
        await press(pilot, screen, "shift+tab", "enter")
        (alone,) = [panel for panel in opened(pilot).query(CurvePlot) if panel.display]
        assert alone.curves[0].metric == "odd_metric"
        assert alone.places == (1,), "a run keeps its letter where another did not log the metric"

    drive(workspace, steps, size, view=view)


def test_zoom_pan_axis_and_smoothing(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "2", "plus", "plus")
        low, high = opened(pilot).window or (0.0, 0.0)
        assert high - low < 60
        await press(pilot, screen, "right_square_bracket")
        assert (opened(pilot).window or (0, 0))[0] > low
        await press(pilot, screen, "x")
        assert "over epoch" in text_of(pilot)
        assert opened(pilot).window is None
        await press(pilot, screen, "S", "S", "y")
        assert "log y" in text_of(pilot)
        assert screen.session.view.smoothing == 0.0

    drive(workspace, steps, view=View(smoothing=0.01))


def test_once_prints_curves_and_their_values(workspace: Workspace) -> None:
    shown = read_once(workspace, "curves", View(sort="run", is_descending=False))
    lines = shown.text(80).splitlines()
    assert lines[0] == "3 marked runs"
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("c run-2") for line in lines)
    values = shown.values()
    assert [curve["run_id"] for curve in values["curves"]] == ["run-0", "run-1", "run-2"]
    assert values["curves"][0]["mean"][0] == 5.0


@pytest.mark.parametrize("axis", AXES)
def test_ticks_are_at_equal_distances_and_every_value_is_on_the_axis(axis: str) -> None:
    rng = random.Random(0)
    for _ in range(300):
        low = rng.uniform(-10, 10) * 10 ** rng.uniform(-3, 5)
        high = low + 10 ** rng.uniform(-2, 6)
        num = rng.randrange(8, 150)
        for scale in (fit_x(low, high, num, axis), fit_y(low, high, num, False)):  # type: ignore[arg-type]
            cells = list(scale.labels)
            assert len(set(np.diff(cells))) <= 1
            dots = scale.dots(np.array([low, high]), 4)
            assert dots.min() >= 0
            assert dots.max() < 4 * num
            assert len(set(scale.labels.values())) == len(cells)
