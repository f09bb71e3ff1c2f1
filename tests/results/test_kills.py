"""Trainers and folders of the store killed at any moment while others look on; and a store that is damaged."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.results.check import check_store, content_sha256, hash_tables
from cxrssl.results.store import fold_store, rebuild_store
from tests.records.folders import make_run
from tests.results.cast import Cast, heard, open_cast
from tests.scale import scaled

pytestmark = pytest.mark.crash
SEED = int(os.environ.get("CXRSSL_SEED", "20261201"))
NUM_RUNS = 3


@pytest.fixture
def cast(tmp_path: Path) -> Iterator[Cast]:
    with open_cast(tmp_path) as made:
        yield made


@dataclass
class Start:
    """One start of a trainer: its first step, and the file of the steps that it logged."""

    first: int
    said: Path

    @property
    def last(self) -> int:
        """The last step that was logged for certain; one before the first where there is none."""
        lines = self.said.read_bytes().split()
        return int(lines[-1]) if lines else self.first - 1


def expect(starts: list[Start]) -> tuple[dict[int, int], dict[int, int]]:
    """Return which start each step of a run must be of, and may be of: one more step, killed before it was noted."""
    must: dict[int, int] = {}
    may: dict[int, int] = {}
    for number, start in enumerate(starts):
        if start.last < start.first:
            may[start.first] = number  # it may have logged one step, or none, and then replaces nothing
            continue
        must = {step: each for step, each in must.items() if step < start.first}
        may = {step: each for step, each in may.items() if step < start.first}
        must |= dict.fromkeys(range(start.first, start.last + 1), number)
        may[start.last + 1] = number
    return must, may


def test_killed_trainers_and_folders_lose_no_row_and_nobody_is_refused(cast: Cast) -> None:
    """Each start of a trainer goes back some steps, as from a checkpoint; what it logs again counts."""
    rng, num_kills = random.Random(SEED), scaled(6, 200)
    workspace = Workspace(cast.root / "ws").create()
    workspace.mark()
    folders = [make_run(workspace, f"run-{number}") for number in range(NUM_RUNS)]
    starts: list[list[Start]] = [[] for _ in folders]
    trainers = [0] * NUM_RUNS

    def start(number: int) -> None:
        before = starts[number][-1].last + 1 if starts[number] else 0
        first = max(0, before - rng.choice([0, 0, 7, 150]))
        place = {"folder": str(folders[number]), "first": first, "start": len(starts[number])}
        trainers[number], said = cast.begin("trainer", **place)
        starts[number].append(Start(first, said))

    for number in range(NUM_RUNS):
        start(number)
    lookers = [cast.begin(who)[1] for who in ("dashboard", "dashboard", "user")]
    folding, folded = cast.begin("folder")
    all_folded = [folded]
    killed = {"trainer": 0, "folder": 0}
    while min(killed.values()) < num_kills:
        time.sleep(rng.uniform(0, 0.2))
        if rng.random() < 0.5 and killed["trainer"] < num_kills:
            number = rng.randrange(NUM_RUNS)
            cast.kill(trainers[number])
            start(number)
            killed["trainer"] += 1
        elif killed["folder"] < num_kills:
            cast.kill(folding)
            folding, folded = cast.begin("folder")
            all_folded.append(folded)
            killed["folder"] += 1
    ends_at = time.monotonic() + 300  # however slow the machine is, each has looked once
    while not all(heard(said) for said in (*lookers, folded)) and time.monotonic() < ends_at:
        time.sleep(0.05)
    for pid in list(cast.alive):
        cast.kill(pid)
    wrong = [line for said in (*lookers, *all_folded) for line in heard(said) if "gave" not in line]
    assert not wrong, wrong[:3]
    for line in heard(lookers[-1]):
        assert all(rows == steps == last + 1 for _, rows, steps, last in line["gave"]), line

    fold_store(workspace)
    with open_database(workspace.store, read_only=True) as database:
        sql = "SELECT step, CAST(floor(value) AS INTEGER) FROM metric WHERE key = 'loss' AND run_id = ?"
        found = [database.rows(sql, [folder.name]) for folder in folders]
    for rows, own in zip(found, starts, strict=True):
        must, may = expect(own)
        assert len(rows) == len({step for step, _ in rows}), "doubled"
        assert {(step, start) for step, start in must.items() if step not in may} <= set(rows), "lost"
        assert all(start in (must.get(step), may.get(step)) for step, start in rows), "made up"
    check_store(workspace)


def test_a_store_damaged_in_any_way_is_one_sentence_and_a_rebuild_restores_its_content(cast: Cast) -> None:
    """In a process of its own, in case DuckDB ends it."""
    rng = random.Random(SEED)
    workspace = Workspace(cast.root / "ws").create()
    workspace.mark()
    for number in range(3):
        make_run(workspace, f"run-{number}", range(400), end="finish")
    whole = rebuild_store(workspace).read_bytes()
    wanted = content_sha256(hash_tables(workspace.store))
    rows = [[f"run-{number}", 400, 400, 399] for number in range(3)]
    for number in range(scaled(6, 100)):
        changed, how = damage(whole, number, rng)
        (cast.root / "damaged").write_bytes(changed)
        _, said = cast.begin("checker", damaged=str(cast.root / "damaged"), wait=True)
        asked, checked, rebuilt = heard(said)
        assert rebuilt.get("gave") == wanted, (how, rebuilt)
        assert "make it again: cxrssl db rebuild" in checked.get("hint", "") or changed == whole, (how, checked)
        answer = asked["gave"]
        if answer["returncode"]:
            assert (answer["returncode"], answer["stderr"].count("hint: ")) == (3, 1), (how, answer)
            assert "make it again: cxrssl db rebuild" in answer["stderr"], (how, answer)
        else:  # it was made again at once, or the query read none of what was damaged
            found = sorted(list(row.values()) for row in json.loads(answer["stdout"]))
            assert found == rows, (how, answer)


def damage(data: bytes, number: int, rng: random.Random) -> tuple[bytes, str]:
    """Return the store damaged in one of many ways, and which."""
    at = rng.randrange(len(data))
    changed = bytearray(data)
    kind = ("bit", "cut", "empty", "zeros", "version", "text", "grown", "head", "block", "swap")[number % 10]
    if kind == "bit":
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[at:]
    elif kind == "empty":
        changed.clear()
    elif kind == "zeros":
        changed[at : at + 4096] = bytes(min(4096, len(data) - at))
    elif kind == "version":
        changed[12:20] = rng.randbytes(8)
    elif kind == "text":
        changed = bytearray(b"not a database\n" * 50)
    elif kind == "grown":
        changed += rng.randbytes(4096)
    elif kind == "head":
        changed[rng.randrange(12288)] ^= 0xFF
    elif kind == "block":
        first = 12288 + (at // 262144) * 262144
        changed[first : first + 256] = rng.randbytes(256)
    else:
        half = len(data) // 2
        changed = bytearray(data[half:] + data[:half])
    return bytes(changed), f"{kind} {number} at {at}"
