"""Reading growing journals: whole lines, bounded pieces, bounded memory; the steps are those of results.read_run."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.history import History, RunHistory, choose_decay, smooth
from cxrssl.dashboard.tail import JournalTail, first_step, is_metric, read_tip, records_in
from cxrssl.results import read_run

from .folders import make_run, metric, write_lines


def test_only_what_came_since_the_last_reading_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    tail = JournalTail(path)
    assert tail.read() == []
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":')
    assert tail.read() == [{"a": 1}, {"a": 2}]
    assert tail.read() == []
    with open(path, "ab") as file:
        file.write(b"3}\n")
    assert tail.read() == [{"a": 3}]


def test_a_piece_ends_at_a_line_and_the_next_goes_on_there(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write_lines(path, [{"a": index} for index in range(100)])
    tail, seen = JournalTail(path), []
    for _ in range(100):
        seen += tail.read(max_bytes=64)
        if tail.is_at_end:
            break
    assert [record["a"] for record in seen] == list(range(100))


def test_a_line_longer_than_a_piece_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"long":"' + b"x" * 1000 + b'"}\n{"a":1}\n')
    tail, seen = JournalTail(path), []
    for _ in range(100):
        seen += tail.read(max_bytes=100)
    assert seen == [{"a": 1}]


def test_a_journal_that_shrank_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write_lines(path, [{"a": 1}, {"a": 2}])
    tail = JournalTail(path)
    tail.read()
    path.write_bytes(b'{"b":1}\n')
    assert tail.read() == [{"b": 1}]
    assert tail.num_replaced == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics-0001.jsonl")
    assert JournalTail(tmp_path / "metrics-0001.jsonl").read() == []
    assert read_tip(tmp_path / "metrics-0001.jsonl") == []


def test_garbage_is_skipped_and_its_neighbours_are_kept() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    data = b'{"a":1}\n\xff\xfe\n[1]\n' + deep + b'\n"text"\n{"a":"nan"}\n'
    first, second = records_in(data)
    assert first == {"a": 1}
    assert math.isnan(second["a"])


def test_a_record_needs_a_step_and_a_time() -> None:
    assert is_metric({"step": 3, "ts": 1.5, "unknown": [1]})
    assert not any(is_metric({"step": step, "ts": 1.0}) for step in (None, -1, True, 1.5, "3", 2**60))
    assert not any(is_metric({"step": 3, "ts": ts}) for ts in (None, math.nan, "x", 10**400))


def test_the_tip_of_a_long_journal_is_its_last_records(tmp_path: Path) -> None:
    write_lines(tmp_path / "m.jsonl", [metric(step) for step in range(1000)])
    assert [record["step"] for record in read_tip(tmp_path / "m.jsonl")][-3:] == [997, 998, 999]
    assert first_step(tmp_path / "m.jsonl") == 0


def test_steps_done_again_after_a_resume_count_once_as_in_results(tmp_path: Path) -> None:
    folder = make_run(Workspace(tmp_path), "r", range(50))
    history = RunHistory(folder)
    assert history.poll().x_N3[:, 0].tolist() == list(range(50))
    write_lines(folder / "metrics-0002.jsonl", [metric(step, loss=9.0) for step in range(30, 40)])
    write_lines(folder / "metrics-0003.jsonl", [metric(step, loss=8.0) for step in range(35, 60)])
    (folder / "metrics-0004.jsonl").touch()
    record = read_run(folder)
    assert record is not None
    known = history.poll()
    assert known.x_N3[:, 0].tolist() == [m["step"] for m in record.metrics]
    assert known.mean_NK[:, known.metrics.index("loss")].tolist() == [m["loss"] for m in record.metrics]


def test_a_long_journal_is_read_piece_by_piece_and_never_twice(tmp_path: Path) -> None:
    folder = make_run(Workspace(tmp_path), "r", range(2000))
    history = RunHistory(folder)
    num_polls = 0
    while history.read_frac < 1:
        history.poll(50_000)
        num_polls += 1
    assert 5 < num_polls < 20
    assert len(history.history.count_N) == 2000


def test_merging_keeps_extremes_counts_and_the_last_step() -> None:
    history = History(max_points=64)
    for start in range(0, 1000, 7):
        history.add([metric(step, loss=100.0 if step == 137 else 1.0) for step in range(start, min(start + 7, 1000))])
    curve = history.curve("r", "loss")
    assert curve is not None
    assert len(curve.step) <= 64
    assert history.count_N.sum() == 1000
    assert np.nanmax(curve.high) == 100.0
    assert curve.step[-1] == 999
    assert math.isclose(float((curve.mean * history.count_N).sum()), 999 + 100.0)


def test_nan_is_marked_and_left_out_of_the_curve() -> None:
    history = History()
    history.add([metric(0), metric(1, loss=math.nan), metric(2, loss=math.inf), metric(3)])
    curve = history.curve("r", "loss")
    assert curve is not None
    assert curve.is_bad.tolist() == [False, True, True, False]
    assert np.isfinite(curve.mean).tolist() == [True, False, False, True]


def test_metrics_that_appear_later_and_too_many_of_them_do_no_harm() -> None:
    history = History()
    history.add([metric(0)])
    history.add([metric(1, fresh=2.0, text="x", **{f"k{index}": 1.0 for index in range(500)})])
    assert len(history.metrics) == 64
    assert "text" not in history.metrics
    curve = history.curve("r", "fresh")
    assert curve is not None
    assert curve.is_bad.tolist() == [False, False]


def test_a_clock_that_goes_back_adds_no_time() -> None:
    history = History()
    history.add([{**metric(step), "ts": ts} for step, ts in enumerate((10.0, 20.0, 5.0, 6.0))])
    history.add([{**metric(4), "ts": 1.0}, {**metric(5), "ts": 3.0}])
    assert history.x_N3[:, 2].tolist() == [0, 10, 10, 11, 11, 13]


def test_smoothing_equals_the_slow_sum() -> None:
    values = np.array([3.0, 1.0, 2.0, 5.0])
    slow = []
    for end in range(1, 5):
        weights = [0.9 ** (end - 1 - index) for index in range(end)]
        slow.append(sum(w * v for w, v in zip(weights, values[:end], strict=True)) / sum(weights))
    assert np.allclose(smooth(values, np.ones(4), 0.9), slow)


def test_a_short_curve_is_not_smoothed_away_and_a_long_one_not_without_end() -> None:
    assert choose_decay(10) == 0.5
    assert choose_decay(400) == 0.9
    assert choose_decay(1e6) == 0.99
