"""States of runs, probe results, and the dashboard as text and JSON, from folders made by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.durable import write_json
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.state import STATES, DashboardState, RunRow, filter_runs, probes_of
from cxrssl.dashboard.text import help
from cxrssl.dashboard.text.cells import run_cells, short_number, short_seconds
from cxrssl.dashboard.text.lines import health_text, outcome_sentence, run_lines
from cxrssl.dashboard.text.snapshot import as_json, render
from cxrssl.records.ablation import TABLE
from cxrssl.records.contract import CONTRACT
from tests.records.ablations import make_ablation, make_contract
from tests.records.folders import ALIVE, DEAD, make_evaluation, make_run, metric, write_lines


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def state_of(workspace: Workspace) -> DashboardState:
    return Reader(workspace).read_state()


def once(workspace: Workspace) -> str:
    return render(state_of(workspace))


def only_run(workspace: Workspace) -> RunRow:
    (run,) = state_of(workspace).runs
    return run


def test_row_shows_what_the_run_last_said(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(100), ehr=("sex", "age"))
    write_lines(folder / "metrics-0001.jsonl", [metric(100, loss=2.5)])
    cells = run_cells(only_run(workspace))
    assert cells["steps"] == "101/1,000  10%"
    assert (cells["loss"], cells["films/s"], cells["EHR"], cells["seed"]) == ("2.500", "128.0", "sex, age", "7")
    assert cells["left"] == "7m30s"


def alarm(step: int, what: str) -> dict[str, Any]:
    return {"ts": 1.0, "event": "alarm", "step": step, "kind": "collapse", "what": what}


def test_the_last_alarm_is_shown_until_the_run_is_started_again(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(40))
    assert run_cells(only_run(workspace))["state"] == "running"
    write_lines(folder / "events.jsonl", [alarm(20, "spike: one"), alarm(30, "collapse: \x1b[31mtwo")])
    run = only_run(workspace)
    assert run_cells(run)["state"] == "running !"
    assert run.alarm.startswith("alarm at step 30: collapse: ")
    assert "r: alarm at step 30: collapse: " in once(workspace)
    assert "\x1b" not in once(workspace) + run.alarm
    write_lines(folder / "events.jsonl", [{"ts": 2.0, "event": "start", "step": 30, **ALIVE}])
    assert only_run(workspace).alarm == ""


def test_an_alarm_outlives_the_end_of_its_run(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(40), end="finish")
    write_lines(folder / "events.jsonl", [alarm(30, "spike: one")])
    assert run_cells(only_run(workspace))["state"] == "finished !"
    assert json.loads(json.dumps(as_json(state_of(workspace))))["runs"][0]["alarm"] == "alarm at step 30: spike: one"


def test_what_is_measured_seldom_is_known_from_when_it_was_last_measured(workspace: Workspace) -> None:
    seldom = {"probe_auroc": 0.8125, "feature_rank": 12.34, "health_frac": 0.01}
    folder = make_run(workspace, "r", range(50))
    always = {"memory_mb": 2048.0, "data_frac": 0.034}
    write_lines(folder / "metrics-0001.jsonl", [metric(50, **seldom, **always)])
    write_lines(folder / "metrics-0001.jsonl", [metric(step, **always) for step in range(51, 400)])
    reader = Reader(workspace)
    state = reader.read_state("r")
    assert state.latest["probe_auroc"] == (50, 0.8125)
    assert state.latest["memory_mb"] == (399, 2048.0)
    said = health_text(state.latest)
    assert said == "val probe 0.812 at step 50 · rank 12.3 · 2.0 GiB · waits 3%"
    write_lines(folder / "metrics-0001.jsonl", [metric(400, probe_auroc="nan", data_frac="x")])
    assert "val probe nan at step 400" in health_text(reader.read_state("r").latest)
    assert health_text({}) == ""


def test_runs_are_sorted_by_start_newest_first(workspace: Workspace) -> None:
    for run_id, started_at in (("b", 10.0), ("c", 30.0), ("a", 20.0)):
        make_run(workspace, run_id, started_at=started_at)
    assert [run.run_id for run in state_of(workspace).runs] == ["c", "a", "b"]


def test_nan_loss_is_shown_as_nan(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3))
    write_lines(folder / "metrics-0001.jsonl", [metric(3, loss="nan")])
    assert run_cells(only_run(workspace))["loss"] == "nan"


def test_a_second_reading_opens_nothing_that_did_not_change(workspace: Workspace, monkeypatch: object) -> None:
    make_run(workspace, "r", range(10), end="finish")
    make_evaluation(workspace, "r", "run", 0.7)
    reader = Reader(workspace)
    before = reader.read_state()
    for folder in (workspace.runs / "r", workspace.evals / "r-on-mimic-paper-0"):
        for path in folder.iterdir():
            path.chmod(0)
    after = reader.read_state()
    assert (after.runs, after.probes) == (before.runs, before.probes)
    for path in (workspace.runs / "r").iterdir():
        path.chmod(0o600)


def test_probes_of_a_run_start_with_its_own_then_baselines_then_other_runs(workspace: Workspace) -> None:
    make_run(workspace, "z-run", range(10), end="finish")
    for candidate, kind in (
        ("a-run", "run"),
        ("v", "view-only"),
        ("z-run", "run"),
        ("e", "ehr-only"),
        ("r", "random-init"),
    ):
        make_evaluation(workspace, candidate, kind, 0.7)
    make_evaluation(workspace, "z-run", "run", 0.6, cohort="chexpert")
    state = state_of(workspace)
    assert [probe.candidate_id for probe in probes_of(state, state.runs[0])] == ["z-run", "r", "e", "v", "a-run"]
    assert state.runs[0].macro_auroc == 0.7


def test_a_damaged_evaluation_is_a_problem_and_no_number(workspace: Workspace) -> None:
    path = make_evaluation(workspace, "r", "run", 0.7) / "scores.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.7", b"0.9", 1))
    reader = Reader(workspace)
    state = reader.read_state()
    assert state.probes == ()
    assert state.problems == (
        "evaluation r-on-mimic-paper-0: scores.json is damaged: its SHA-256 does not match the manifest",
    )
    path.write_bytes(whole)
    state = reader.read_state()
    assert (len(state.probes), state.problems) == (1, ())


def test_what_is_damaged_in_a_run_is_a_problem_beside_its_row(workspace: Workspace) -> None:
    make_run(workspace, "r", range(3), num_steps="x")
    make_run(workspace, "s", range(3)).joinpath("run.json").write_text("{")
    state = state_of(workspace)
    assert [(run.run_id, run.step, run.num_steps) for run in state.runs] == [("r", 3, 0)]
    assert state.problems == ('run r: run.json has no count in "num_steps"', "run s: run.json is not JSON")
    assert "problem: run s: run.json is not JSON" in once(workspace)
    assert as_json(state_of(workspace))["problems"] == list(state.problems)


@pytest.mark.parametrize(
    ("ehr", "words"),
    [(("sex",), "No outcome"), (("sex", "mortality"), "AN OUTCOME"), (("moon",), "does not know"), ((), "No outcome")],
)
def test_outcome_as_input_is_reported(workspace: Workspace, ehr: tuple[str, ...], words: str) -> None:
    make_run(workspace, "r", range(3), ehr=ehr)
    assert words in outcome_sentence(only_run(workspace))


def test_once_is_an_aligned_table_with_what_matters_first(workspace: Workspace) -> None:
    make_run(workspace, "mimic-msn-s0", range(10), end="finish", ehr=("mortality",), num_steps=10)
    make_run(workspace, "mimic-msn-s1", range(10), process=DEAD, started_at=1.0)
    make_evaluation(workspace, "mimic-msn-s0", "run", 0.7)
    lines = once(workspace).splitlines()
    assert lines[0].endswith("1 died, 1 finished")
    assert lines[1] == "an outcome of the stay was a pretraining input of: mimic-msn-s0"
    heads = ["run", "state", "steps", "left", "loss", "lowest", "trend", "AUROC", "films/s", "EHR", "seed"]
    assert lines[3].split() == heads
    assert lines[4].split()[:3] == ["mimic-msn-s0", "finished", "10/10"]
    assert "0.700 [0.680, 0.720]" in lines[-1]


def test_once_of_nothing_says_what_to_run(workspace: Workspace) -> None:
    assert "cxrssl pretrain" in once(workspace)


def test_json_is_json(workspace: Workspace) -> None:
    make_run(workspace, "r", range(3))
    make_evaluation(workspace, "r", "run", 0.7)
    values = json.loads(json.dumps(as_json(state_of(workspace)), allow_nan=False))
    assert values["runs"][0]["run_id"] == "r"
    assert values["runs"][0]["state"] == "running"
    fracture = values["probes"][0]["findings"][-1]
    assert (fracture["finding"], fracture["auroc"]["value"]) == ("Pleural Effusion", 0.7)
    assert {"finding", "auroc", "auprc", "num_pos", "num_scored"} == set(fracture)


def test_hostile_text_does_not_reach_the_table() -> None:
    run = RunRow("\x1b[31m\u202eid\u200b", "running", ehr=("\x07",), seed="\x9b1", trouble="\x1b]0;x\x07")
    text = render(DashboardState("/w\x1b[2J", (run,), problems=("\x1b[0m",)))
    assert not set(text) & set("\x1b\x07\x9b\u202e\u200b")


def test_text_and_json_need_no_textual_and_no_torch() -> None:
    modules = ["reader", *(f"text.{name}" for name in ("cells", "help", "lines", "snapshot", "styles"))]
    imports = ", ".join(f"cxrssl.dashboard.{name}" for name in modules)
    code = f"import sys, {imports}; print({{'textual', 'torch', 'duckdb'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_nothing_is_written(workspace: Workspace) -> None:
    make_run(workspace, "r", range(3))
    before = sorted((path, path.stat().st_mtime_ns) for path in workspace.root.rglob("*"))
    once(workspace)
    assert sorted((path, path.stat().st_mtime_ns) for path in workspace.root.rglob("*")) == before


def test_filter_is_part_of_the_id() -> None:
    runs = (RunRow("mimic-A", "running"), RunRow("nih-b", "died"))
    assert filter_runs(runs, " a ") == runs[:1]
    assert filter_runs(runs, "") == runs


def test_short_texts() -> None:
    assert [short_seconds(value) for value in (5, 65, 3700, 180_000, math.nan)] == [
        "5s",
        "1m05s",
        "1h01m",
        "2d02h",
        "–",
    ]
    assert [short_number(value) for value in (0, 3.14159, 12345.6, 1e-6, 2.5e7)] == [
        "0",
        "3.142",
        "12,346",
        "1.00e-6",
        "2.50e7",
    ]


def test_no_line_of_the_help_wraps_on_eighty_columns() -> None:
    keys = [line for lines in help.KEYS_OF.values() for line in (*lines, *help.COMMON_KEYS)]
    assert [line for line in (*keys, *help.STATES) if len(line[1]) > 56 or len(line[0]) > 15] == []
    assert [state for state, _ in help.STATES] == list(STATES)


def test_an_ablation_says_how_many_of_its_runs_are_finished_and_its_primary_comparison(workspace: Workspace) -> None:
    make_run(workspace, "right-7", range(10), end="finish", num_steps=10)
    make_run(workspace, "right-2", range(10))
    make_run(workspace, "another", range(10), end="finish", num_steps=10)
    make_ablation(workspace, "study")
    state = state_of(workspace)
    primary = "primary comparison, declared beforehand: right - wrong on mimic, macro AUROC +0.062 [+0.000, +0.125]"
    line = f"ablation study: 1 of 4 runs finished; {primary}"
    assert line in render(state).splitlines()
    (shown,) = as_json(state)["ablations"]
    assert (shown["name"], shown["num_finished"], shown["difference"]["value"]) == ("study", 1, 0.0625)
    texts = {run.run_id: run_lines(run, 0.0, {}, state.ablations_of(run)).plain for run in state.runs}
    assert {run_id for run_id, text in texts.items() if line in text} == {"right-7", "right-2"}


def test_an_ablation_is_read_again_when_its_table_is_there_or_has_changed(workspace: Workspace) -> None:
    folder = workspace.ablations / "study"
    folder.mkdir(parents=True)
    reader = Reader(workspace)
    assert reader.read_state().ablations == ()
    write_json(folder / CONTRACT, make_contract("study").to_dict())
    assert [each.primary for each in reader.read_state().ablations] == ["no table yet"]
    make_ablation(workspace, "study", differences={})
    (row,) = reader.read_state().ablations
    assert (row.primary.partition(":")[2], row.difference) == (" not made, because runs of its arms are missing", None)
    (folder / "table" / TABLE).write_bytes(b"{}")
    state = reader.read_state()
    assert state.ablations == ()
    assert [each.partition(": ")[0] for each in state.problems] == ["ablation study"]


def test_what_did_not_change_is_not_made_again(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(40), end="finish")
    make_run(workspace, "other", range(40), end="finish")
    make_evaluation(workspace, "r", "run", 0.7)
    reader = Reader(workspace)
    before, after = reader.read_state("r"), reader.read_state("r")
    assert all(old is new for old, new in zip(before.runs + before.probes, after.runs + after.probes, strict=True))
    assert before.curve is after.curve
    write_lines(folder / "notes.jsonl", [{"tag": "kept"}])
    by_id = {run.run_id: run for run in reader.read_state("r").runs}
    assert by_id["r"].tags == ("kept",)
    assert by_id["other"] is before.find_run("other")


def test_an_archived_run_is_shown_only_to_a_filter_that_asks_for_it(workspace: Workspace) -> None:
    write_lines(make_run(workspace, "old", range(3)) / "notes.jsonl", [{"archived": True}])
    make_run(workspace, "new", range(3))
    runs = state_of(workspace).runs
    assert [run.run_id for run in filter_runs(runs, "")] == ["new"]
    assert [run.run_id for run in filter_runs(runs, "archived:yes")] == ["old"]


def test_best_is_the_lowest_loss_and_the_highest_auroc(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(10))
    write_lines(folder / "metrics-0001.jsonl", [metric(10, loss=9.0, probe_auroc=0.5), metric(11, probe_auroc=0.75)])
    write_lines(folder / "metrics-0001.jsonl", [metric(12, loss="nan", probe_auroc=0.6)])
    measures = only_run(workspace).measures
    assert measures["loss"].best("loss") == metric(11)["loss"]
    assert math.isnan(measures["loss"].last)
    assert (measures["probe_auroc"].best("probe_auroc"), measures["probe_auroc"].step) == (0.75, 12)
    assert math.isnan(measures["lr"].best("lr")), "neither high nor low is better by itself"
