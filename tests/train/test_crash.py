"""Runs that cannot be killed: SIGKILL at any moment, damaged checkpoints and failing disks never change a weight."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import find_leftovers, sha256_file
from cxrssl.core.errors import IntegrityError
from cxrssl.core.journal import read_journal
from cxrssl.train.checkpoint import KIND, STATE_FILE, Checkpoints
from tests.faults import KINDS
from tests.scale import scaled
from tests.small_runs import fail_on_damage, read_run
from tests.train.trainers import EVERY, SAVE_POINTS, Trainer, draw_kills, numbers, run_in
from tests.world import make_workspace

pytestmark = pytest.mark.crash
SEED = int(os.environ.get("CXRSSL_SEED", "20240611"))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    root = tmp_path_factory.mktemp("runs")
    trainer = Trainer(root, make_workspace(root / "template", num_patients=20).root)
    yield trainer
    trainer.close()


@pytest.fixture(scope="module")
def whole(trainer: Trainer) -> Path:
    """The folder of a run that nobody disturbed."""
    workspace = trainer.new_workspace()
    code, stderr = trainer.pretrain(workspace)
    assert code == 0, stderr
    folder = run_in(workspace)
    assert read_run(folder).num_steps >= 60
    return folder


def calls_in(workspace: Path) -> int:
    """How often the last process changed the disk, or tried to."""
    return int((workspace / "calls.txt").read_text())


def checkpoints_of(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*"))


def hashes(folder: Path) -> tuple[str, str]:
    """The published encoder, and all that the last step left: weights, target, prototypes and moments."""
    return sha256_file(folder / "encoder/encoder.safetensors"), sha256_file(checkpoints_of(folder)[-1] / STATE_FILE)


def assert_like(folder: Path, whole: Path) -> None:
    record = read_run(folder)
    assert record.state == "finished"
    assert hashes(folder) == hashes(whole)
    assert numbers(folder) == numbers(whole)
    assert leftovers_of(folder) == set()


def leftovers_of(folder: Path) -> set[str]:
    found = [*find_leftovers(folder), *find_leftovers(folder / "checkpoints")]
    return {path.relative_to(folder).as_posix() for path in found}


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read_journal(folder / "events.jsonl") if event["event"] == name]


def steps_told(folder: Path) -> int:
    """Steps that some process has told as done."""
    logged = [record["step"] + 1 for path in folder.glob("metrics-*.jsonl") for record in read_journal(path)]
    return max(logged, default=0)


class Chain:
    """One run, killed again and again, and what must hold whenever its process is gone."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.workspace = trainer, trainer.new_workspace()
        self.leftovers: set[str] = set()
        self.num_starts, self.had_checkpoint, self.was_in_save = 0, False, False

    def go_on(self, **how: Any) -> int:
        """Run the command once more, and check what it did first: from where it went on."""
        folders = list((self.workspace / "runs").glob("*"))
        told = steps_told(folders[0]) if folders else 0
        code, stderr = self.trainer.pretrain(self.workspace, **how)
        assert code in (0, -signal.SIGKILL), stderr
        folder = run_in(self.workspace) if (self.workspace / "runs").is_dir() else None
        if folder:
            starts = events(folder, "start")
            if len(starts) > self.num_starts:
                assert told - starts[-1]["step"] <= EVERY
            self.num_starts = len(starts)
            self._check_disk(folder)
        return code

    def _check_disk(self, folder: Path) -> None:
        found = checkpoints_of(folder)
        for path in found:
            open_artefact(path, KIND)
        assert found or not self.had_checkpoint
        assert all(event["step"] <= int(found[-1].name[5:]) for event in events(folder, "checkpoint"))
        self.had_checkpoint = bool(found)
        self.was_in_save = any(name.startswith("checkpoints/") for name in leftovers_of(folder))
        self.leftovers |= leftovers_of(folder)

    def assert_finished_like(self, whole: Path) -> None:
        folder = run_in(self.workspace)
        assert_like(folder, whole)
        assert self.leftovers <= {event["what"] for event in events(folder, "leftover")}
        shutil.rmtree(self.workspace)


def test_a_run_killed_at_any_moment_ends_with_the_weights_of_an_undisturbed_one(trainer: Trainer, whole: Path) -> None:
    """One process killed, the next killed elsewhere, until one of them comes to the end; then another run."""
    start, end = (events(whole, name)[0]["ts"] for name in ("start", "finish"))
    rng = random.Random(SEED)
    waiting = draw_kills(rng, num_kills := scaled(16, 200))
    chain, num_in_save, is_fresh, num_too_late = Chain(trainer), 0, True, 0
    while waiting:
        order = waiting[-1]
        moment = order.get("moment")
        how = {"kill_after_s": moment * (end - start) / 2} if moment is not None else order
        try:
            code = chain.go_on(**how)
            if code == 0:
                assert moment is not None or not is_fresh, "this point is never passed"
                num_too_late += 1
                chain.assert_finished_like(whole)
                chain, is_fresh = Chain(trainer), True
                order |= {"moment": rng.random()} if moment is not None else {}
                continue
        except BaseException:
            sys.stderr.write(f"seed {SEED}, {len(waiting)} kills to go, {order}\n")
            raise
        waiting.pop()
        is_fresh = False
        num_in_save += chain.was_in_save or order.get("kill_at", "").split(":")[0] in SAVE_POINTS[3:]
    assert chain.go_on() == 0
    chain.assert_finished_like(whole)
    assert num_in_save >= num_kills * 0.3
    sys.stdout.write(f"{num_kills} kills, {num_in_save} inside a save, {num_too_late} came after the end\n")


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_every_flipped_bit_and_every_cut_of_the_newest_checkpoint_is_seen_and_the_one_before_is_used(
    whole: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(whole / "checkpoints", folder := tmp_path / "checkpoints")
    before, newest = checkpoints_of(tmp_path)
    rng = random.Random(f"{SEED} {damage}")
    for trial in range(200):
        path = newest / (STATE_FILE, "manifest.json")[trial % 2]
        content = path.read_bytes()
        damaged = bytearray(content)
        if damage == "flip":
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(len(content)) :]
        path.write_bytes(damaged)
        told: list[IntegrityError] = []
        tensors = Checkpoints(folder, {}, 2).load_newest(told.append) or {}
        assert [Path(error.where) for error in told] == [path], f"seed {SEED}, {damage} {trial}"
        assert path.name in told[0].what
        assert int(tensors["step"]) == int(before.name[5:])
        path.write_bytes(content)
    tensors = Checkpoints(folder, {}, 2).load_newest(fail_on_damage) or {}
    assert int(tensors["step"]) == int(newest.name[5:])


def unfinished_copy(trainer: Trainer, whole: Path) -> tuple[Path, Path]:
    """A run that was killed between its last checkpoint and its encoder."""
    workspace = trainer.new_workspace()
    shutil.copytree(whole, workspace / "runs" / whole.name)
    shutil.rmtree(run_in(workspace) / "encoder")
    return workspace, run_in(workspace)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(trainer: Trainer, whole: Path) -> None:
    workspace, folder = unfinished_copy(trainer, whole)
    before, newest = checkpoints_of(folder)
    flip(newest / STATE_FILE)
    code, stderr = trainer.pretrain(workspace)
    assert code == 0
    assert f"{STATE_FILE} is damaged: its SHA-256 does not match the manifest ({newest.name}/{STATE_FILE})" in stderr
    assert [event["where"] for event in events(folder, "damage")] == [f"{newest.name}/{STATE_FILE}"]
    assert events(folder, "start")[-1]["step"] == int(before.name[5:])
    assert_like(folder, whole)


def test_a_run_without_any_whole_checkpoint_does_not_start_from_nothing_unasked(trainer: Trainer, whole: Path) -> None:
    workspace, folder = unfinished_copy(trainer, whole)
    for path in checkpoints_of(folder):
        flip(path / "manifest.json")
    files = {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()}
    code, stderr = trainer.pretrain(workspace)
    assert code == 3
    assert "error: the run has 2 checkpoints and none is whole" in stderr
    assert f"at {folder / 'checkpoints'}" in stderr
    assert "delete the folder to begin again at step 0" in stderr
    assert {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()} == files
    assert len(events(folder, "damage")) == 2
    shutil.rmtree(folder / "checkpoints")
    assert trainer.pretrain(workspace)[0] == 0
    assert events(folder, "start")[-1]["step"] == 0
    assert_like(folder, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_at_any_call_of_a_run_ends_it_with_code_4_and_harms_nothing(
    trainer: Trainer, kind: str
) -> None:
    """Call 1 of the whole command fails, then call 2, to the last; in CI a few of them."""
    short = {"num_epochs": 1}
    workspace = trainer.new_workspace()
    assert trainer.pretrain(workspace, **short)[0] == 0
    wanted, num_calls = hashes(run_in(workspace)), calls_in(workspace)
    assert num_calls > 50
    calls = random.Random(f"{SEED} {kind}").sample(range(1, num_calls + 1), scaled(3, num_calls))
    for fail_at in calls:
        workspace = trainer.new_workspace()
        code, stderr = trainer.pretrain(workspace, fail_at=fail_at, kind=kind, **short)
        where = f"seed {SEED}, {kind}, call {fail_at}: {stderr}"
        # How many calls there are is not quite the same always.
        has_failed = kind != "short" and calls_in(workspace) >= fail_at
        assert code == (4 if has_failed else 0), where
        if code:
            assert "cxrssl: error: cannot" in stderr, where
            assert f"  at {workspace}" in stderr, where
        for folder in (workspace / "runs").glob("*"):
            found = checkpoints_of(folder)
            for path in found:
                open_artefact(path, KIND)
            told = [event["step"] for event in events(folder, "checkpoint")]
            assert not told or told[-1] in [int(path.name[5:]) for path in found], where
            assert bool(code) != bool(events(folder, "finish")), where
        assert trainer.pretrain(workspace, **short)[0] == 0, where
        assert hashes(run_in(workspace)) == wanted, where
        shutil.rmtree(workspace)
