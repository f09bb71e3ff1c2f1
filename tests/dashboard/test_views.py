"""The views that a run cuts of a film, on the screen: cut by a process of its own, corners covered."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.cutter import ViewCutter
from cxrssl.dashboard.screens.films import FilmsScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.text.views import MIN_SIDE, fit_tiles, shade_view, view_labels, views_line
from cxrssl.dashboard.widgets.views import ViewTiles
from cxrssl.views.shown import AskedViews, ShownView, ShownViews
from tests.dashboard.screen import drive, press, text_of, until
from tests.world import make_workspace

MASKED = ShownView("random", 1, np.full((16, 16), 255, np.uint8), np.eye(2, dtype=bool), 0.5, True)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=12)


def test_a_view_says_its_share_its_mask_and_that_it_is_mirrored() -> None:
    assert view_labels([MASKED]) == ["random 50% -50% flip"]
    assert [label.split()[:2] for label in view_labels([MASKED, replace(MASKED, number=2)])] == [
        ["random", "1"],
        ["random", "2"],
    ]
    assert shade_view(MASKED, 8) == ["@@@@××××", "@@@@××××", "××××@@@@", "××××@@@@"]


def test_a_line_says_whose_views_they_are() -> None:
    views = (MASKED,)
    assert views_line(ShownViews(why="it is gone"), 80) == "no views: it is gone"
    assert views_line(ShownViews(views, "r", 2, 10, 40, 6, 64, True), 80) == (
        "run r, epoch 3 of 10, step 41: film 7 of a batch of 64"
    )
    line = views_line(ShownViews(views, "nih-msn-vit-small-s0-1234abcd", 0, 10, why="not trained on"), 60)
    assert len(line) <= 60
    assert line.endswith("34abcd, epoch 1 of 10: not trained on")


@pytest.mark.parametrize(("num", "size"), [(12, (80, 20)), (12, (200, 56)), (1, (40, 20)), (2, (30, 30))])
def test_tiles_are_as_large_as_the_screen_allows(num: int, size: tuple[int, int]) -> None:
    columns, side = fit_tiles(num, *size)
    rows = -(-num // columns)
    assert side >= MIN_SIDE
    assert columns * (side + 1) - 1 <= size[0]
    assert rows * (side // 2 + 1) <= size[1]
    assert fit_tiles(num, 10, 2) == (0, 0)


def test_views_are_cut_by_another_process_and_torch_is_not_loaded_in_this_one(workspace: Workspace) -> None:
    is_loaded = "torch" in sys.modules

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        # However long it takes to load torch.
        await asyncio.to_thread(screen.session.cutter.cut, AskedViews(str(workspace.root), "nih", 0))
        await press(pilot, screen, "7", "w")
        opened = pilot.app.screen
        assert isinstance(opened, FilmsScreen)
        tiles = opened.query_one(ViewTiles)
        await until(pilot, lambda: tiles.shown is not None)
        await pilot.pause(0.05)
        text = text_of(pilot)
        assert "no run of this cohort: the default recipe" in text
        assert all(f"focal {number} " in text for number in range(1, 11))
        assert re.search(r"random \d+% -15%", text)
        assert ("torch" in sys.modules) is is_loaded
        covered = tiles.shown
        await pilot.press("v")
        await until(pilot, lambda: tiles.shown is not None and tiles.shown is not covered)
        assert covered is not None
        assert tiles.shown is not None
        assert any((a.pixels_PP != b.pixels_PP).any() for a, b in zip(covered.views, tiles.shown.views, strict=True))
        await press(pilot, screen, "w")
        assert not tiles.display

    drive(workspace, steps, (160, 50))


def test_a_process_that_ends_is_told_and_the_next_question_starts_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    cutter = ViewCutter()
    for _ in range(2):
        shown = cutter.cut(AskedViews(str(workspace.root), "nih", 0))
        assert shown.why.startswith("the process that cuts views ended with code")
    cutter.close()
