"""The course of a metric in bounded memory; its steps are those of the journals, each once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cxrssl.core.workspace import Workspace
from cxrssl.records.curve import History, RunHistory, choose_decay, smooth
from cxrssl.records.steps import iter_metrics
from tests.records.folders import make_run, metric, write_lines


def test_steps_done_again_after_a_resume_count_once(tmp_path: Path) -> None:
    folder = make_run(Workspace(tmp_path), "r", range(50))
    history = RunHistory(folder)
    assert history.poll().x_N3[:, 0].tolist() == list(range(50))
    write_lines(folder / "metrics-0002.jsonl", [metric(step, loss=9.0) for step in range(30, 40)])
    write_lines(folder / "metrics-0003.jsonl", [metric(step, loss=8.0) for step in range(35, 60)])
    (folder / "metrics-0004.jsonl").touch()
    records = list(iter_metrics(folder))
    known = history.poll()
    assert known.x_N3[:, 0].tolist() == [record["step"] for record in records] == list(range(60))
    assert known.mean_NK[:, known.metrics.index("loss")].tolist() == [record["loss"] for record in records]


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
