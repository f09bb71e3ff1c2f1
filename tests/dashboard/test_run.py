"""One run in full: recipe, health, events, console, leaks."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.detail import CONSOLE_LINES, read_console
from cxrssl.dashboard.once import SHOWS, read_once
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens.run import RunScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.view import View
from tests.dashboard.screen import drive, press, text_of
from tests.hostile import hostile_texts, unsafe_chars
from tests.records.folders import make_evaluation, make_run, metric, write_lines
from tests.scale import scaled


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    make_run(workspace, "one", range(50), end="finish", ehr=("sex",), started_at=2e9)
    make_run(workspace, "two", range(20), started_at=1e9)
    make_evaluation(workspace, "one", "run", 0.7, leak="it saw the test films")
    write_lines(workspace.runs / "one" / "events.jsonl", [{"ts": 1.0, "event": "alarm", "step": 3, "what": "collapse"}])
    return workspace


def test_a_run_is_compared_with_the_pinned_one(workspace: Workspace) -> None:
    detail = Reader(workspace).read_detail("one", "two")
    assert detail.against == "two"
    (other,) = [setting for setting in detail.settings if setting.is_other]
    assert (other.key, other.value, other.other) == ("ehr.features", "sex", "none")
    assert Reader(workspace).read_detail("one", "one").against.startswith("default of")
    assert Reader(workspace).read_detail("gone").run is not None


def test_the_text_says_health_alarms_events_and_leaks(workspace: Workspace) -> None:
    text = read_once(workspace, "run", View(marked=("one",))).text(100)
    assert "alarm at step 3: collapse" in text
    assert "stated by an evaluation: it saw the test films" in text
    assert "cxrssl cohort audit mimic --against one" in text
    assert "AUROC 0.700 [0.680, 0.720]" in text
    assert "films_per_s            128.0  films a second" in text
    assert "finish at step 50" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_console_is_its_last_lines_as_a_terminal_would_show_them(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"first\n" * 9000 + b"step 1\rstep 2\rstep 3\r\n\x1b[31mlast\xff")
    lines = read_console(path)
    assert len(lines) == CONSOLE_LINES
    assert lines[-2] == "step 3"
    assert unsafe_chars("".join(lines)) == set()
    assert read_console(tmp_path) == ()
    assert read_console(None) == ()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_enter_opens_the_run_at_the_cursor_with_its_command_to_copy(
    workspace: Workspace, size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "enter")
        opened = pilot.app.screen
        assert isinstance(opened, RunScreen)
        assert "Loss and its parts" in text_of(pilot)
        await press(pilot, screen, "tab", "d")
        assert "features" in text_of(pilot)
        await press(pilot, screen, "n")
        assert opened.state is not None
        assert opened.state.run is not None
        assert opened.state.run.run_id == "two"

    drive(workspace, steps, size)


def test_hostile_texts_in_a_run_reach_no_screen(tmp_path: Path) -> None:
    texts = hostile_texts(scaled(120, 2000), 1)
    workspace = Workspace(tmp_path)
    recipe = {text: {text: text} for text in texts[:60]} | {"model": {"backbone": texts[3]}, "train": {"seed": 1}}
    folder = make_run(
        workspace, "r", range(4), recipe=recipe, device=texts[5], cohort=texts[6], versions={"a": texts[2]}
    )
    write_lines(folder / "events.jsonl", [{"ts": 1.0, "event": text, "what": text, "step": text} for text in texts])
    write_lines(folder / "metrics-0001.jsonl", [metric(4, **dict.fromkeys(texts[60:], 1.0))])
    write_lines(folder / "notes.jsonl", [{"tag": text} for text in texts] + [{"note": texts[9]}])
    for name in SHOWS:
        for width in (None, 80):
            assert unsafe_chars(read_once(workspace, name, View()).text(width)) == set()
        read_once(workspace, name, View()).values()

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        for key in ("4", "tab", "2", "m", "escape", "3", "5", "6", "7", "1", "c"):
            await press(pilot, screen, key)
            assert unsafe_chars(text_of(pilot)) == set()
            assert ElementTree.fromstring(pilot.app.export_screenshot()).tag.endswith("svg")

    drive(workspace, steps, (80, 24))
