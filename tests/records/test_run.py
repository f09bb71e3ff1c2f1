"""The one reader of a run's folder: its state, its tip, and what is damaged, from folders made by hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrssl.core.numbers import number_of
from cxrssl.core.process import describe_process, start_ticks
from cxrssl.core.workspace import Workspace
from cxrssl.records import steps
from cxrssl.records.reader import RunReader, RunRecord, list_runs, read_run
from cxrssl.records.run import RunDescription, RunFiles
from cxrssl.records.steps import iter_metrics, last_loss
from tests.records.folders import ALIVE, DEAD, ELSEWHERE, age_files, make_encoder, make_run, metric, write_lines
from tests.scale import scaled


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def only_run(workspace: Workspace) -> RunRecord:
    (run,), damage = list_runs(workspace)
    assert not damage
    return run


@pytest.mark.parametrize(
    ("process", "end", "silent_s", "state"),
    [
        (ALIVE, "", 5000, "running"),
        (DEAD, "", 0, "died"),
        (ALIVE, "stop", 0, "stopped"),
        (DEAD, "fail", 0, "failed"),
        (DEAD, "finish", 0, "finished"),
        (ELSEWHERE, "", 0, "running"),
        (ELSEWHERE, "", 500, "unseen"),
    ],
)
def test_state_follows_from_events_process_and_silence(
    workspace: Workspace, process: dict[str, Any], end: str, silent_s: float, state: str
) -> None:
    age_files(make_run(workspace, "r", range(10), process=process, end=end), silent_s)
    assert only_run(workspace).state == state


def test_a_killed_run_is_not_running(workspace: Workspace) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    about = {**describe_process(), "pid": process.pid, "pid_started": start_ticks(process.pid)}
    reader = RunReader(make_run(workspace, "r", range(10), process=about))
    assert state_of(reader) == "running"
    process.kill()
    process.wait()
    assert state_of(reader) == "died"


def state_of(reader: RunReader) -> str:
    record = reader.poll()
    assert record is not None
    return record.state


def test_a_run_that_finished_between_two_readings_is_finished(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(10), process=DEAD, num_steps=10)
    reader = RunReader(folder)
    assert state_of(reader) == "died"
    write_lines(folder / "events.jsonl", [{"ts": time.time(), "event": "finish", "step": 10}])
    run = reader.poll()
    assert run is not None
    assert (run.state, run.step) == ("finished", 10)


def test_a_step_done_again_after_a_resume_counts_once_as_done_last(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(50))
    write_lines(folder / "metrics-0002.jsonl", [metric(step, loss=9.0) for step in range(20, 25)])
    records = list(iter_metrics(folder))
    assert [record["step"] for record in records] == list(range(25))
    assert {record["loss"] for record in records[20:]} == {9.0}
    run = only_run(workspace)
    assert (run.step, run.tip[-1]["loss"], last_loss(RunFiles(folder))) == (25, 9.0, 9.0)


def test_time_left_is_that_of_the_last_steps(workspace: Workspace) -> None:
    make_run(workspace, "r", range(100))
    assert only_run(workspace).left_s == 450.0


def test_a_clock_that_went_back_gives_no_time_left(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3))
    write_lines(folder / "metrics-0001.jsonl", [{**metric(3), "ts": 5.0}])
    run = only_run(workspace)
    assert (run.state, run.step) == ("running", 4)
    assert math.isnan(run.left_s)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'{"ts":1,"st',
        b"\x00\xff\n",
        b"[]\n",
        b'{"step":5}\n',
        b'{"step":"nan","ts":"inf"}\n',
        b'{"event":[],"ts":1}\n',
        b"[" * 50_000 + b"\n",
    ],
    ids=range(8),
)
def test_lines_that_are_no_records_change_nothing(workspace: Workspace, tail: bytes) -> None:
    folder = make_run(workspace, "r", range(10))
    for name in ("metrics-0001.jsonl", "events.jsonl"):
        with open(folder / name, "ab") as file:
            file.write(tail)
    run = only_run(workspace)
    assert (run.state, run.step) == ("running", 10)
    assert len(list(iter_metrics(folder))) == 10


def test_a_first_record_without_a_step_is_passed_over(workspace: Workspace) -> None:
    folder = make_run(workspace, "r")
    write_lines(folder / "metrics-0001.jsonl", [{"ts": 1.0, "note": "x"}, metric(0), metric(1)])
    assert only_run(workspace).step == 2
    assert [record["step"] for record in iter_metrics(folder)] == [0, 1]


def test_empty_journals_and_no_event_yet(workspace: Workspace) -> None:
    folder = make_run(workspace, "r")
    (folder / "metrics-0001.jsonl").touch()
    (folder / "events.jsonl").write_bytes(b"")
    run = only_run(workspace)
    assert (run.state, run.step, run.tip, run.started_at) == ("running", 0, (), None)


def test_a_run_that_has_only_taken_its_lock_has_not_begun(workspace: Workspace) -> None:
    folder = workspace.runs / "r"
    folder.mkdir(parents=True)
    RunFiles(folder).lock.touch()
    assert list_runs(workspace) == ([], [])


def test_a_newer_version_may_say_more(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3), new_field={"deep": [1]})
    write_lines(folder / "events.jsonl", [{"ts": 1, "event": "dance", "pid": "x"}, {"ts": 1, "no": "event"}])
    write_lines(folder / "metrics-0001.jsonl", [metric(3, novel={"a": 1}, listed=[1, 2])])
    assert (only_run(workspace).state, only_run(workspace).step) == ("running", 4)


def test_a_start_without_a_process_is_judged_by_silence(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3))
    (folder / "events.jsonl").write_text('{"ts":"nan","event":"start","host":5,"pid":"x"}\n')
    age_files(folder, 500)
    assert only_run(workspace).state == "unseen"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "run.json is not JSON"),
        ("[]", "run.json holds no table"),
        ("[" * 50_000, "run.json is not JSON"),
        ("\0" * 20_000_000, "run.json is larger than any that cxrssl writes"),
    ],
    ids=["empty", "a list", "nested", "huge"],
)
def test_a_run_json_of_no_use_is_named_and_gives_no_run(workspace: Workspace, text: str, what: str) -> None:
    (make_run(workspace, "r", range(3)) / "run.json").write_text(text)
    runs, damage = list_runs(workspace)
    assert (runs, [each.sentence for each in damage]) == ([], [f"run r: {what}"])


def test_what_run_json_lacks_is_named_and_the_rest_is_used(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3))
    about = json.loads((folder / "run.json").read_text())
    del about["recipe"], about["cohort"]
    (folder / "run.json").write_text(json.dumps(about | {"num_steps": "many", "num_films": -1}))
    (run,), damage = list_runs(workspace)
    assert (run.step, run.num_steps, run.ehr, run.description.split) == (3, 0, (), "paper")
    what = 'run.json lacks "recipe", lacks "cohort", has no count in "num_films" and 1 more fault'
    assert [each.what for each in damage] == [what]
    assert run.damage == tuple(damage)


def test_a_run_json_is_written_as_it_is_read(workspace: Workspace) -> None:
    values = json.loads((make_run(workspace, "r", versions={"cxrssl": "1"}) / "run.json").read_text())
    faults: list[str] = []
    description = RunDescription.from_dict(values, faults)
    assert not faults
    assert RunDescription.from_dict(description.to_dict(), faults) == description
    assert description.to_dict().items() >= values.items()


def test_an_encoder_that_is_not_whole_is_damage_of_its_run_until_it_is(workspace: Workspace) -> None:
    folder = make_run(workspace, "r", range(3), end="finish")
    films = make_encoder(folder) / "films.csv"
    reader = RunReader(folder)

    def sentences() -> list[str]:
        assert reader.poll() is not None
        return [damage.sentence for damage in reader.damage]

    assert sentences() == []
    whole = films.read_bytes()
    films.unlink()
    assert sentences() == ["run r: encoder: films.csv is missing"]
    films.write_bytes(whole)
    assert sentences() == []


def test_a_second_reading_opens_nothing_that_did_not_change(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(workspace, "r", range(10), end="finish")
    make_encoder(folder)
    reader = RunReader(folder)
    before = reader.poll()

    def refuse(*args: Any) -> int:
        raise AssertionError(f"opened {args[0]}")

    monkeypatch.setattr(os, "open", refuse)
    assert reader.poll() == before


def test_a_run_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    assert read_run(tmp_path / "nowhere") is None


def test_the_next_journal_comes_after_all_that_are_there(workspace: Workspace) -> None:
    files = RunFiles(make_run(workspace, "r", range(3)))
    assert files.next_journal().name == "metrics-0002.jsonl"
    write_lines(files.folder / "metrics-0003.jsonl", [metric(3)])
    assert files.next_journal().name == "metrics-0004.jsonl", "the second was deleted; the third is not gone on with"


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=scaled(60, 1000))
def test_columns_hold_what_the_records_hold(data: st.DataObject) -> None:
    numbers = st.floats() | st.integers(-(10**400), 10**400)
    values = st.dictionaries(st.sampled_from(["a", "b", "epoch"]), numbers | st.booleans() | st.text(max_size=2))
    records = [{"ts": 1.5, **logged, "step": k} for k, logged in enumerate(data.draw(st.lists(values, max_size=12)))]
    wanted, found = [], []
    for record in records:
        epoch = number_of(record["epoch"]) if "epoch" in record else None
        for key in {"a", "b"} & record.keys():
            if type(record[key]) in (int, float):
                wanted.append(repr((key, record["step"], epoch, 1.5, number_of(record[key]))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "iter_metrics", lambda folder: iter(records))
        patch.setattr(steps, "PIECE_STEPS", 5)
        for column in steps.iter_columns(Path()):
            epochs = [None] * len(column.step_N) if column.epoch_N is None else column.epoch_N.tolist()
            rows = zip(column.step_N.tolist(), epochs, column.ts_N.tolist(), column.value_N.tolist(), strict=True)
            found += [repr((column.metric, *row)) for row in rows]
    assert sorted(found) == sorted(wanted)
