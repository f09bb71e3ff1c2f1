"""The fold: whatever happens to the files of runs, it comes to what a rebuild makes of them."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.journal import append_record
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.records import published
from cxrssl.records.notes import add_note
from cxrssl.records.steps import iter_columns
from cxrssl.records.tail import is_metric, read_tip
from cxrssl.results import journals, store
from cxrssl.results.fold import LOGGED, fold
from cxrssl.results.journals import JournalState, iter_new, read_piece
from cxrssl.results.store import build, fold_store, refresh_store
from tests.records.folders import make_run, metric, write_lines
from tests.results.test_store import content_of
from tests.scale import scaled

SEED = int(os.environ.get("CXRSSL_SEED", "20261201"))
ODD_LINES = [
    b"{}\n", b"[1]\n", b"5\n", b"\n", b"{\n", b'{"step":3}\n', b'{"ts":1,"step":"3","loss":2}\n', b"\xff\xfe\n",
    b'{"ts":1,"step":true,"loss":2}\n', b'{"ts":1,"step":7.0,"loss":2}\n', b'{"ts":1e999,"step":7,"loss":2}\n',
    b'{"ts":1,"step":800,"loss":"nan","lr":"-inf"}\n', b'{"ts":1,"step":801,"loss":1e305,"lr":-1e300}\n',
    b'{"ts":1,"step":802,"loss":null,"lr":true}\n', b'{"ts":1,"step":803,"loss":1,"loss":2}\n',
    b'{"ts":1,"step":804,"loss":[1],"lr":{"a":":"}}\n', b'{"ts":1,"step":-3,"loss":1}\n',
    b'{"ts":1,"step":805,"loss":-0.0,"lr":-0}\n', b'{"ts":1,"step":806,"loss":01}\n',
    b'{"ts":1,"step":807,"loss":123456789012345678901234567890}\n', b'{"ts" : 1 , "step":808,"loss":.5}\n',
    b'{"ts":1,"step":809,"\xc3\xa9":5,"loss":1}\n', b'{"ts":1,"step":810,"a\\"b":5}\n', b'{"ts":1,\r"step":811}\n',
    b'{"ts":1,"step":9007199254740993,"loss":1}\n', b'{"ts":1,"step":812,"loss":1}{"ts":1,"step":813,"loss":1}\n',
    b'{"ts":1,"step":814,"epoch":null,"loss":1}\n', b'{"ts":1,"step":815,"epoch":0.5,"new metric":1}\n',
]  # fmt: skip


def rows_of(columns: Any) -> list[tuple[Any, ...]]:
    """Return the numbers of columns, one row a step and metric."""
    rows = []
    for each in columns:
        epochs = [None] * len(each.step_N) if each.epoch_N is None else each.epoch_N.tolist()
        for row in zip(each.step_N.tolist(), epochs, each.ts_N.tolist(), (each.value_N + 0.0).tolist(), strict=True):
            rows.append((each.metric, *map(repr, row)))
    return sorted(rows)


@pytest.mark.parametrize("odd", ODD_LINES)
def test_any_line_among_others_is_read_as_the_slow_reader_reads_it(odd: bytes, tmp_path: Path) -> None:
    lines = [json.dumps(metric(step)).encode() + b"\n" for step in range(4)]
    path = tmp_path / "metrics-0001.jsonl"
    path.write_bytes(b"".join([*lines[:2], odd, *lines[2:]]))
    read: list[JournalState] = []
    found = [column for columns in iter_new([path], {}, read.append) for column in columns]
    assert rows_of(found) == rows_of(iter_columns(tmp_path))
    assert read[0].num_bytes == path.stat().st_size


def test_plain_lines_are_read_in_columns_digit_by_digit() -> None:
    rng = np.random.default_rng(SEED)
    values = np.concatenate(
        [rng.normal(size=500), 10.0 ** rng.uniform(-320, 299, 500), rng.integers(-(2**62), 2**62, 99)]
    )
    lines = [
        {"ts": 1.7e9 + step / 7, "step": step, "epoch": step / 3, "x": x} for step, x in enumerate(values.tolist())
    ]
    lines += [{"ts": 5, "step": 2000 + step, "epoch": 1, "x": int(x)} for step, x in enumerate(values[-99:].tolist())]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    assert journals._read_alike(data, []) is not None
    ((column,), last, keys) = read_piece(data, -1, None, [])
    assert column.value_N.tolist() == [float(line["x"]) for line in lines]
    assert column.ts_N.tolist() == [float(line["ts"]) for line in lines]
    assert (last, set(keys)) == (2098, {"ts", "epoch", "x"})


def test_a_line_longer_than_a_piece_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cxrssl.results.journals", "cxrssl.records.tail"):
        monkeypatch.setattr(f"{module}.PIECE_BYTES", 1000)
    monkeypatch.setattr("cxrssl.records.tail.JournalTail.read.__defaults__", (1000,))
    path = tmp_path / "metrics-0001.jsonl"
    write_lines(path, [metric(step) for step in range(9)])
    with open(path, "ab") as file:
        file.write(b'{"long":"' + b"x" * 2500 + b'"}\n')
    write_lines(path, [metric(step) for step in range(9, 20)])
    read: list[JournalState] = []
    found = [column for columns in iter_new([path], {}, read.append) for column in columns]
    assert rows_of(found) == rows_of(iter_columns(tmp_path))
    assert {row[0] for row in rows_of(found)} >= {"loss", "lr"}
    assert read[0].num_bytes == path.stat().st_size


class History:
    """What may happen to the folders of runs, drawn at random."""

    def __init__(self, workspace: Workspace, seed: int) -> None:
        self.workspace, self.rng, self.done = workspace, random.Random(seed), list[str]()
        self.clock = 1.7e9
        for name in ("one", "two", "three"):
            make_run(workspace, name, range(self.rng.randrange(40)))

    def change(self) -> None:
        """Change one thing as programs, people and accidents do."""
        run_id = self.rng.choice(self.workspace.run_ids())
        kinds = [name.removeprefix("do_") for name in dir(self) if name.startswith("do_")]
        kind = self.rng.choice([*kinds, "log", "log", "resume"])
        self.done.append(f"{kind} {run_id}")
        getattr(self, f"do_{kind}")(self.workspace.runs / run_id)

    def journals(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("metrics-*"))

    def records(self, first: int) -> list[dict[str, Any]]:
        self.clock += self.rng.choice([1.0, 60.0, -1e6])
        more: dict[str, Any] = self.rng.choice([{}, {"rank": 3.0}, {"rank": "nan"}])
        return [metric(step, self.clock, **more) for step in range(first, first + self.rng.randrange(1, 9))]

    def do_log(self, folder: Path) -> None:
        path = (self.journals(folder) or [folder / "metrics-0001.jsonl"])[-1]
        tip = read_tip(path, is_metric) if path.exists() else []
        write_lines(path, self.records(tip[-1]["step"] + 1 if tip else 0))

    def do_resume(self, folder: Path) -> None:
        number = len(self.journals(folder)) + 1
        append_record(folder / "events.jsonl", {"event": "start", "step": 5})
        write_lines(folder / f"metrics-{number:04d}.jsonl", self.records(self.rng.randrange(30)))

    def do_resume_without_a_step(self, folder: Path) -> None:
        (folder / f"metrics-{len(self.journals(folder)) + 1:04d}.jsonl").write_bytes(b"")

    def do_log_in_an_older_one(self, folder: Path) -> None:
        for path in self.journals(folder)[:1]:
            write_lines(path, self.records(100))

    def do_half_a_line(self, folder: Path) -> None:
        for path in self.journals(folder)[-1:]:
            with open(path, "ab") as file:
                file.write(b'{"ts":1,"step":90')

    def do_odd_line(self, folder: Path) -> None:
        for path in self.journals(folder)[-1:]:
            with open(path, "ab") as file:
                file.write(self.rng.choice(ODD_LINES))

    def do_truncate(self, folder: Path) -> None:
        for path in self.journals(folder)[-1:]:
            os.truncate(path, self.rng.randrange(path.stat().st_size + 1))

    def do_truncate_and_grow(self, folder: Path) -> None:
        for path in self.journals(folder)[-1:]:
            size = path.stat().st_size
            os.truncate(path, self.rng.randrange(size + 1))
            while path.stat().st_size <= size:
                write_lines(path, self.records(self.rng.randrange(200)))

    def do_replace(self, folder: Path) -> None:
        for path in self.journals(folder)[-1:]:
            write_lines(other := folder / "other", self.records(self.rng.randrange(5)))
            os.replace(other, path)

    def do_edit(self, folder: Path) -> None:
        """In place, at equal size, with the old time of writing."""
        for path in self.journals(folder)[:1]:
            lay = path.stat()
            path.write_bytes(path.read_bytes().replace(b"4", b"3"))
            os.utime(path, ns=(lay.st_atime_ns, lay.st_mtime_ns))

    def do_set_clock_back(self, folder: Path) -> None:
        for path in self.journals(folder):
            os.utime(path, (1e9, 1e9))

    def do_delete_journal(self, folder: Path) -> None:
        for path in self.journals(folder)[:1]:
            path.unlink()

    def do_finish(self, folder: Path) -> None:
        append_record(folder / "events.jsonl", {"event": "finish"})

    def do_say(self, folder: Path) -> None:
        said: list[dict[str, Any]] = [
            {"tag": "a"},
            {"untag": "a"},
            {"note": "é"},
            {"archived": True},
            {"metric": "test", "step": 3, "value": 1},
        ]
        add_note(folder, self.rng.choice([*said, {"metric": "loss", "step": 3, "value": 1}]))

    def do_new(self, folder: Path) -> None:
        make_run(self.workspace, f"run-{self.rng.getrandbits(32)}", range(self.rng.randrange(30)))

    def do_delete(self, folder: Path) -> None:
        if len(self.workspace.run_ids()) > 2:
            shutil.rmtree(folder)

    def do_swap(self, folder: Path) -> None:
        one, other = self.rng.sample(self.workspace.run_ids(), 2)
        for source, dest in ((one, "aside"), (other, one), ("aside", other)):
            os.rename(self.workspace.runs / source, self.workspace.runs / dest)

    def do_break(self, folder: Path) -> None:
        path = folder / "run.json"
        path.write_bytes(b"{" if path.read_bytes() != b"{" else b'{"run_id":"x","recipe":{}}')


@pytest.mark.fuzz
def test_the_fold_equals_a_rebuild_after_random_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workspaces one counts files that were just written as settled, as they are seconds later."""
    num_kept = []

    def counting(*args: Any) -> Any:
        folded = fold(*args)
        num_kept.append(folded.num_kept)
        return folded

    monkeypatch.setattr(store, "fold", counting)
    for number in range(scaled(6, 1000)):
        monkeypatch.setattr(published, "CLOCK_STEP_S", 0.0 if number % 2 else 2.0)
        workspace = Workspace(tmp_path / str(number)).create()
        history = History(workspace, SEED + number)
        for _ in range(3):
            for _ in range(history.rng.randrange(5)):
                history.change()
            store_path = fold_store(workspace)
        build(oracle := workspace.root / "oracle.duckdb", workspace, None)
        assert content_of(store_path) == content_of(oracle), (SEED + number, history.done)
        shutil.rmtree(workspace.root)
    assert sum(num > 0 for num in num_kept) > len(num_kept) // 4


def test_what_comes_later_is_read_from_where_the_fold_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    folder = make_run(workspace, "one", range(1000))
    make_run(workspace, "two", range(1000), end="finish")
    fold_store(workspace)
    write_lines(folder / "metrics-0001.jsonl", [metric(step) for step in range(1000, 1003)])
    sizes = []

    def watched(data: bytes, *rest: Any) -> Any:
        sizes.append(data.count(b"\n"))
        return read_piece(data, *rest)

    monkeypatch.setattr(journals, "read_piece", watched)
    fold_store(workspace)
    assert sizes == [3]
    with open_database(workspace.store, read_only=True) as database:
        assert database.rows(f"SELECT count(*) FROM {LOGGED}") == [(2003 * 7,)]
        assert database.rows("SELECT num_values, last_step FROM summary WHERE key = 'loss' ORDER BY 1") == [
            (1000, 999), (1003, 1002)
        ]  # fmt: skip


def test_a_number_that_was_added_later_stands_among_the_metrics(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    folder = make_run(workspace, "one", range(10), end="finish")
    for step, value in ((9, 0.7), (9, 0.8)):
        add_note(folder, {"metric": "test auroc", "step": step, "value": value})
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert database.rows("SELECT step, value FROM metric WHERE key = 'test auroc'") == [(9, 0.8)]
        assert database.rows("SELECT last FROM summary WHERE key = 'test auroc'") == [(0.8,)]
    add_note(folder, {"tag": "paper"})
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert database.rows("SELECT tags FROM run") == [("paper",)]
        assert database.rows("SELECT count(*) FROM metric WHERE key = 'test auroc'") == [(1,)]


def test_a_store_that_is_folded_often_does_not_grow_without_end(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    folder = make_run(workspace, "one", range(2000))
    fold_store(workspace)
    for step in range(2000, 2000 + scaled(8, 200)):
        write_lines(folder / "metrics-0001.jsonl", [metric(step)])
        fold_store(workspace)
    folded = workspace.store.stat().st_size
    assert folded < 2 * store.rebuild_store(workspace).stat().st_size
