"""Real trainings and folders of the store killed at any moment before two open dashboards and a user's own query."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.results.check import check_store
from cxrssl.results.store import fold_store
from tests.results.cast import Cast, heard, open_cast
from tests.scale import scaled
from tests.small_runs import read_run
from tests.train.trainers import Trainer, draw_kills, numbers, run_in
from tests.world import make_workspace

pytestmark = pytest.mark.crash
SEED = int(os.environ.get("CXRSSL_SEED", "20261202"))
SOON_S = 0.6
"""The longest time from the start of a trainer to its kill, where the kill comes at random."""


class Folders:
    """A process that folds the store, killed and started again by a thread of its own."""

    def __init__(self, cast: Cast, workspace: Path, num_kills: int) -> None:
        self.cast, self.workspace, self.num_kills, self.said = cast, workspace, num_kills, list[Path]()
        self.rng = random.Random(SEED)
        self.pid = self._begin()
        self.thread = threading.Thread(target=self._kill, daemon=True)

    def _begin(self) -> int:
        pid, said = self.cast.begin("folder", workspace=str(self.workspace))
        self.said.append(said)
        return pid

    def _kill(self) -> None:
        for _ in range(self.num_kills):
            time.sleep(self.rng.uniform(0, 2 * SOON_S))
            self.cast.kill(self.pid)
            self.pid = self._begin()


def test_no_row_of_a_real_training_is_lost_or_doubled_and_nobody_is_refused(tmp_path: Path) -> None:
    """The rows of a run are those of one that nobody disturbed, bit for bit."""
    num_kills, rng = scaled(3, 200), random.Random(SEED)
    waiting, ended = draw_kills(rng, num_kills), list[int]()
    trainer = Trainer(tmp_path, make_workspace(tmp_path / "template", num_patients=20).root)
    place = trainer.new_workspace()
    Workspace(place).mark()
    with open_cast(tmp_path) as cast:
        lookers = [cast.begin(who, workspace=str(place))[1] for who in ("pilot", "pilot", "user")]
        folders = Folders(cast, place, num_kills)
        folders.thread.start()
        seed = 0
        while waiting:
            order = waiting[-1]
            how = {"kill_after_s": order["moment"] * SOON_S} if "moment" in order else order
            code, stderr = trainer.pretrain(place, seed=seed, **how)
            assert code in (0, -signal.SIGKILL), (order, stderr)
            if code:
                waiting.pop()
                continue
            order |= {"moment": rng.random() / 2} if "moment" in order else {}  # it came to its end before
            ended.append(seed)
            seed += 1
        assert trainer.pretrain(place, seed=seed)[0] == 0
        ended.append(seed)
        folders.thread.join(600)
        assert not folders.thread.is_alive()
        last = {said: len(heard(said)) for said in (*lookers, folders.said[-1])}
        ends_at = time.monotonic() + 300  # however slow the machine is, each has looked once more
        while not all(len(heard(said)) > num for said, num in last.items()) and time.monotonic() < ends_at:
            time.sleep(0.05)
        assert all(len(heard(said)) > num for said, num in last.items())
    wrong = [line for said in (*lookers, *folders.said) for line in heard(said) if "gave" not in line]
    assert not wrong, wrong[:3]
    for line in heard(lookers[-1]):
        assert all(rows == steps == newest + 1 for _, rows, steps, newest in line["gave"]), line

    fold_store(Workspace(place))
    check_store(Workspace(place))
    stored = rows_of(Workspace(place))
    assert len(stored) == len(ended)
    for number in ended:
        calm = trainer.new_workspace()
        assert trainer.pretrain(calm, seed=number)[0] == 0
        folder = run_in(calm)
        wanted = [(record["step"], record["loss"]) for record in numbers(folder)]
        assert stored[folder.name] == wanted, f"seed {SEED}, run {folder.name}"
        assert read_run(place / "runs" / folder.name).state == "finished"
        shutil.rmtree(calm)
    trainer.close()
    looked = [len(heard(said)) for said in lookers]
    sys.stdout.write(f"{num_kills} kills of each, {len(ended)} trainings, looks {json.dumps(looked)}\n")


def rows_of(workspace: Workspace) -> dict[str, list[tuple[int, float]]]:
    """Return step and loss of every run as the store has them."""
    found: dict[str, list[tuple[int, float]]] = {}
    with open_database(workspace.store, read_only=True) as database:
        sql = "SELECT run_id, step, value FROM metric WHERE key = 'loss' ORDER BY run_id, step"
        for run_id, step, value in database.rows(sql):
            found.setdefault(run_id, []).append((step, value))
    return found
