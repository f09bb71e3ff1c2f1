"""Reading growing journals: whole lines, bounded pieces."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from cxrssl.records.tail import (
    TIP_BYTES,
    JournalTail,
    find_journal_fault,
    first_step,
    is_metric,
    iter_journal,
    read_tip,
    records_in,
)
from tests.records.folders import metric, write_lines


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


def test_the_tip_is_found_behind_any_amount_of_garbage(tmp_path: Path) -> None:
    path = tmp_path / "metrics-0001.jsonl"
    write_lines(path, [metric(0), metric(1)])
    with open(path, "ab") as file:
        file.write((b"\xff" * 1000 + b"\n") * 6000)
    assert [record["step"] for record in read_tip(path, is_metric)] == [1]
    assert find_journal_fault(path, is_metric) == ""
    assert [record["step"] for record in iter_journal(path)] == [0, 1]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", ""),
        (b'{"ts":1,"step":0', ""),
        (b"\xff\xfe\n", "metrics-0001.jsonl holds no record"),
        (b'{"ts":1}\n', "metrics-0001.jsonl holds no record"),
        (b"x" * TIP_BYTES, "metrics-0001.jsonl holds no record"),
        (b'\xff\n{"ts":1,"step":0}\n', ""),
    ],
    ids=["empty", "being written", "binary", "of other things", "one endless line", "one good record"],
)
def test_a_journal_is_damaged_only_when_nothing_of_it_can_be_used(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "metrics-0001.jsonl"
    path.write_bytes(data)
    assert find_journal_fault(path, is_metric) == fault
