"""The dashboard as a user sees it: text of screens, keys, selection, hostile text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.memory import recall_view
from cxrssl.dashboard.screens.findings import FindingsScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.text.help import help_text
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.probe_table import ProbeTable
from cxrssl.dashboard.widgets.run_table import RunTable
from cxrssl.dashboard.widgets.tabs import SCREENS
from tests.cli.command import run as run_command
from tests.dashboard.screen import drive, press, settle, text_of, until
from tests.records.folders import DEAD, make_evaluation, make_run, metric, write_lines


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    make_run(workspace, "mimic-msn-s0-aaaa", range(300), end="finish", num_steps=300, started_at=1e9)
    make_run(workspace, "mimic-msn+sex-s1-bbbb", range(200), process=DEAD, ehr=("sex",), started_at=1.1e9)
    make_run(workspace, "mimic-msn+mortality-s2-cccc", range(100), ehr=("mortality",), started_at=1.2e9)
    make_evaluation(workspace, "mimic-msn-s0-aaaa", "run", 0.71)
    make_evaluation(workspace, "random-init-x", "random-init", 0.61)
    return workspace


def selected(screen: RunsScreen) -> str:
    table = screen.query_one(RunTable)
    key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
    assert key == table.selected, "the cursor is where the selection is"
    return table.selected


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_runs_curve_and_details_fit_the_screen(workspace: Workspace, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await until(pilot, lambda: text_of(pilot).splitlines()[-1].strip() != "")  # the footer is mounted last
        text = text_of(pilot)
        assert next(line for line in text.splitlines() if "s2-cccc" in line).split()[1:4] == [
            "running",
            "100/1,000",
            "10%",
        ]
        assert "died" in text
        assert "0.710" in text
        assert "AN OUTCOME OF THE STAY" in text
        assert "loss 3.849" in text
        assert any(0x2800 < ord(char) < 0x2900 for char in text)
        assert text.splitlines()[-1].split()[-2:] == ["?", "Help"]

    drive(workspace, steps, size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_alarms_and_what_was_measured_beside_the_loss_are_on_the_screen(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = Workspace(tmp_path)
    folder = make_run(workspace, "collapsing", range(300))
    write_lines(folder / "metrics-0001.jsonl", [metric(300, probe_auroc=0.77, feature_rank=3.2)])
    write_lines(folder / "events.jsonl", [{"ts": 1.0, "event": "alarm", "step": 30, "what": "collapse: [/x]"}])

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        text = text_of(pilot)
        assert "running !" in text
        assert "val probe 0.770 at step 300" in text
        assert "alarm at step 30: collapse: [/x]" in text
        assert screen.state is not None
        await press(pilot, screen, *("m",) * len(screen.state.metrics))
        assert {"probe_auroc", "feature_rank"} <= set(screen.state.metrics)

    drive(workspace, steps, size)


def test_no_color_shows_the_same_words(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        assert pilot.app.no_color
        assert all(word in text_of(pilot) for word in ("running", "died", "finished"))

    drive(workspace, steps, (80, 24))


def test_probes_take_the_place_of_the_curve_on_a_low_screen(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "down", "down")
        assert "0.710 [0.690, 0.730]" not in text_of(pilot)
        await press(pilot, screen, "tab", "tab")
        assert "▸ label of run (aaaa)" in text_of(pilot)
        assert "0.710 [0.690, 0.730]" in text_of(pilot)
        await press(pilot, screen, "enter")
        assert "Cardiomegaly" in text_of(pilot)
        assert "not defined" in text_of(pilot)
        await press(pilot, screen, "escape", "tab")
        assert "loss" in text_of(pilot)
        assert screen.focused is screen.query_one(RunTable)

    drive(workspace, steps, (80, 24))


def test_enter_opens_the_candidate_at_the_cursor_which_begins_at_the_run_itself(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for number, run in enumerate(("first", "second")):
        make_run(workspace, run, range(5), end="finish", num_steps=5, started_at=1e9 + number)
        make_evaluation(workspace, run, "run", 0.6 + number / 10, label=f"label of {run}")
    make_evaluation(workspace, "random-init-x", "random-init", 0.5)

    app: App[Any] = App()

    def title() -> str:
        opened = app.screen
        assert isinstance(opened, FindingsScreen)
        return opened.probe.label

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        nonlocal app
        app = pilot.app
        for run in ("second", "first", "second"):
            assert selected(screen) == run
            await press(pilot, screen, "tab", "tab", "enter")
            assert title() == f"label of {run}"
            await press(pilot, screen, "escape", "tab", "up" if run == "first" else "down")
        # The user's own choice stays when the table is read again, and is opened; a key may be faster than a reading.
        await press(pilot, screen, "tab", "tab", "down")
        chosen = screen.query_one(ProbeTable)
        await settle(pilot, screen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FindingsScreen))
        assert title() == "label of random-init"
        assert chosen.selected.startswith("random-init")

    drive(workspace, steps)


def test_a_cursor_that_moved_while_the_table_was_rebuilt_is_where_the_selection_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for number in range(4):
        make_run(workspace, f"run-{number}", range(5), started_at=1e9 - number)

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        table = screen.query_one(RunTable)
        assert screen.state is not None
        by_id = View(sort="")
        for down in (True, True, False):
            table.action_cursor_down() if down else table.action_cursor_up()
            table.show_runs(screen.state.runs[::-1], by_id)  # before the message of the move is read
            table.show_runs(screen.state.runs, by_id)
            await pilot.pause(0.05)
            selected(screen)
        assert selected(screen) == "run-1"

    drive(workspace, steps)


def test_selection_survives_refresh_new_runs_and_filter(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "down")
        assert selected(screen) == "mimic-msn+sex-s1-bbbb"
        make_run(workspace, "newest", range(5), started_at=1.9e9)
        await settle(pilot, screen)
        assert selected(screen) == "mimic-msn+sex-s1-bbbb"
        await press(pilot, screen, "slash", *"NEW")
        assert selected(screen) == "newest"
        await press(pilot, screen, "enter")
        await press(pilot, screen, "escape")
        assert selected(screen) == "mimic-msn+sex-s1-bbbb"
        await press(pilot, screen, "slash", *"zz")
        assert screen.focused_run is None
        assert "0 shown" in text_of(pilot)

    drive(workspace, steps)


def test_a_live_run_moves_without_the_table_being_rebuilt(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        written: list[str] = []
        table = screen.query_one(RunTable)
        monkeypatch.setattr(table, "_rebuild", lambda *_: pytest.fail("rebuilt"))
        update = table.update_cell

        def update_cell(*args: Any) -> None:
            written.append(args[1])
            update(*args)

        monkeypatch.setattr(table, "update_cell", update_cell)
        await settle(pilot, screen)
        assert written == []
        write_lines(
            workspace.runs / "mimic-msn+mortality-s2-cccc" / "metrics-0001.jsonl", [metric(100, 1.2e9, loss=2.25)]
        )
        await settle(pilot, screen)
        assert sorted(set(written)) == ["best", "last", "steps", "trend"]
        assert "2.250" in text_of(pilot)

    drive(workspace, steps)


def test_keys_change_the_curve(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "y", "x", "S", "S")
        assert "range 3.849 to 5.000 · over epoch, log y" in text_of(pilot)
        assert "smoothed" not in text_of(pilot)
        await press(pilot, screen, "m")
        assert "cross_entropy 4.849" in text_of(pilot)
        await press(pilot, screen, "down")
        assert "cross_entropy 4.675" in text_of(pilot)
        await press(pilot, screen, "question_mark")
        assert "log or linear y; x axis" in text_of(pilot)

    drive(workspace, steps)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_an_empty_workspace_says_what_to_run_and_a_run_appears(tmp_path: Path, size: tuple[int, int]) -> None:
    workspace = Workspace(tmp_path / "nothing")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        assert "cxrssl pretrain" in text_of(pilot)
        await press(pilot, screen, "tab", "m", "y", "slash", "a", "escape")
        assert "No runs yet" in text_of(pilot)
        make_run(workspace, "first")
        await settle(pilot, screen)
        assert "no step has been logged yet" in text_of(pilot)
        assert not (workspace.root / "experiments.duckdb").exists()

    drive(workspace, steps, size)


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    evil = "\x1b]0;owned\x07[bold]\u202e"
    folder = make_run(workspace, evil + "run", range(5), ehr=("[/nope]",), cohort="[/nope]", device="\x1b[2J[/]")
    write_lines(folder / "events.jsonl", [{"ts": 1.0, "event": "guard", "step": "[/x]", "what": "\x1b[31m[/nope]"}])
    write_lines(folder / "metrics-0001.jsonl", [metric(5, **{"[/nope]\x1b": 3.0})])
    (workspace.runs / "broken\x1b[1m").mkdir()
    (workspace.runs / "broken\x1b[1m" / "run.json").write_text("{")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "M")
        text = text_of(pilot)
        assert not set(text) & set("\x1b\x07\u202e")
        assert "[bold]" in text
        assert "cohort [/nope]" in text
        assert "[/nope]\N{REPLACEMENT CHARACTER} 3.000" in text
        await press(pilot, screen, "slash", *"[/")
        assert '0 shown with "[/"' in text_of(pilot)

    drive(workspace, steps)


def test_hostile_labels_of_candidates_and_findings_are_shown_as_text(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_run(workspace, "r", range(5), end="finish")
    make_evaluation(workspace, "r", "run", 0.5, label="[/nope]\x1b[31m\u200b")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        assert "▸ [/nope]" in text_of(pilot)
        await press(pilot, screen, "tab", "tab", "enter")
        assert "[/nope]" in text_of(pilot)
        assert not set(text_of(pilot)) & set("\x1b\u200b")

    drive(workspace, steps)


def test_a_reading_that_fails_is_reported_and_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(screen.reader, "read_state", lambda *_: 1 / 0)
            await settle(pilot, screen)
            assert "cannot be read: ZeroDivisionError" in text_of(pilot)
        await settle(pilot, screen)
        assert "3 runs" in text_of(pilot)

    drive(workspace, steps)


def test_closing_touches_nothing(workspace: Workspace) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in workspace.root.rglob("*"))

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await pilot.press("q")

    drive(workspace, steps)
    assert sorted((path, path.stat().st_mtime_ns) for path in workspace.root.rglob("*")) == before


def test_marks_columns_order_and_groups_are_the_users_and_remembered(workspace: Workspace, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"

    async def choose(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "space", "space")
        assert " ".join(screen.session.view.marked) == "mimic-msn+mortality-s2-cccc mimic-msn+sex-s1-bbbb"
        assert "● 2 marked" in text_of(pilot)
        await press(pilot, screen, "g", "space")
        assert " ".join(screen.session.view.marked) == "mimic-msn+sex-s1-bbbb"
        await press(pilot, screen, "greater_than_sign", "o")
        view = screen.session.view
        assert (view.sort, view.is_descending) == ("run", False)
        rows = list(screen.query_one(RunTable)._cells)
        assert rows == sorted(rows)
        await press(pilot, screen, "c", "space", "enter")
        assert "state" not in screen.session.view.columns
        await press(pilot, screen, "u")
        assert "seeds united" in text_of(pilot)
        await pilot.press("U")
        await pilot.pause(0.1)
        await press(pilot, screen, "enter")
        assert "united by ehr.features" in text_of(pilot)
        assert "ehr.features = sex" in text_of(pilot)
        screen.session.keep()

    drive(workspace, choose, memory=memory)
    assert recall_view(memory).marked == ("mimic-msn+sex-s1-bbbb",)


def test_what_is_at_the_cursor_can_be_copied_and_saved(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        copies = dict(screen.list_copies())
        assert copies["cell state: running"] == "running"
        assert copies["table as CSV"].startswith("run,state,steps")
        await pilot.press("C")
        await pilot.pause(0.1)
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert pilot.app.clipboard == "cxrssl runs show mimic-msn+mortality-s2-cccc"
        for _ in range(2):
            await pilot.press("E")
            await pilot.pause(0.1)
            await pilot.press("enter")
            await pilot.pause(0.1)
        assert (tmp_path / "runs.csv").read_text().count("\n") == 4
        assert "this file exists" in text_of(pilot)
        await pilot.press("home", "shift+end", *"runs.svg", "enter")
        await until(pilot, lambda: (tmp_path / "runs.svg").exists())
        picture = (tmp_path / "runs.svg").read_text()
        assert "mimic-msn+sex-s1-bbbb" in picture
        assert "Save&#160;the" not in picture
        assert not re.findall(r"https?://(?!www\.w3\.org)[^\s\"<]*", picture.replace("https://www.textualize.io", ""))

    drive(workspace, steps)


def test_names_that_are_no_column_or_screen_are_refused_by_name(workspace: Workspace) -> None:
    for words, said in ((["--sort", "lose"], 'nearest is "loss"'), (["rums"], 'nearest is "runs"')):
        found = run_command("dashboard", "--once", *words, workspace=workspace.root)
        assert found.returncode == 2
        assert said in found.stderr


def test_runs_can_be_sorted_and_filtered_without_a_terminal(workspace: Workspace) -> None:
    found = run_command("dashboard", "--json", "--sort", "-best.loss", "--filter", "+", workspace=workspace.root)
    assert [row["run_id"] for row in json.loads(found.stdout)["runs"]] == [
        "mimic-msn+mortality-s2-cccc",
        "mimic-msn+sex-s1-bbbb",
    ]


def test_a_text_that_is_no_filter_is_refused_while_the_last_one_stays(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "slash", *"state:running")
        assert list(screen.query_one(RunTable)._cells) == ["mimic-msn+mortality-s2-cccc"]
        await press(pilot, screen, *" (")
        assert "this is no filter yet" in text_of(pilot)
        assert list(screen.query_one(RunTable)._cells) == ["mimic-msn+mortality-s2-cccc"]

    drive(workspace, steps)


def test_keys_of_the_user_the_palette_and_themes(workspace: Workspace, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('filter = "f"')

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await pilot.press("f")
        await pilot.pause(0.05)
        assert screen.query_one("#filter").has_focus
        await press(pilot, screen, "escape")
        for theme in ("light", "colour-blind", "dark"):
            await press(pilot, screen, "T")
            assert pilot.app.theme == theme
            assert "running" in text_of(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"unite")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await pilot.pause(0.2)
        await settle(pilot, screen)
        assert screen.session.view.is_grouped

    drive(workspace, steps, keys=keys)


@pytest.mark.parametrize("name", SCREENS)
def test_every_screen_has_help_whose_lines_fit_80_columns(workspace: Workspace, name: str) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, str(SCREENS.index(name) + 1), "escape", "question_mark")
        await until(pilot, lambda: f"Keys of the screen {name}" in text_of(pilot))

    drive(workspace, steps, (80, 24))
    assert max(len(line) for line in help_text(name).plain.splitlines()) <= 76


def test_the_mouse_can_be_left_to_the_terminal(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        said: list[str] = []
        driver = pilot.app._driver
        driver._disable_mouse_support = lambda: said.append("free")  # type: ignore[union-attr]
        driver._enable_mouse_support = lambda: said.append("ours")  # type: ignore[union-attr]
        await pilot.press("F", "F")
        await pilot.pause(0.05)
        assert said == ["free", "ours"]

    drive(workspace, steps)
