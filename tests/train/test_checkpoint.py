"""Checkpoints on disks and in hands that do them harm: none is lost that was whole, none is told that is not."""

import contextlib
import os
import random
import shutil
import tempfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import find_leftovers
from cxrssl.core.errors import IntegrityError, SetupError
from cxrssl.model.encoder import publish_encoder
from cxrssl.records.encoder import KIND as ENCODER_KIND
from cxrssl.records.encoder import NOWHERE, SeenFilms
from cxrssl.train.checkpoint import KIND, STATE_FILE, Checkpoints, serialise
from cxrssl.train.state import flatten_state, restore_state, state_bytes
from tests.faults import KINDS, FailingDisk
from tests.golden.checkpoint import start, take_steps
from tests.scale import scaled
from tests.small_runs import fail_on_damage


def tensors_of(step: int) -> dict[str, torch.Tensor]:
    return {"step": torch.tensor(step), "weight": torch.full((8,), float(step))}


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def fail_each_call(
    act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, kind: str
) -> Iterator[SetupError | None]:
    """Yield the error of `act` for each call of it that changes the disk, failed; a short write must go unnoticed."""
    counter = FailingDisk(0, kind)
    with monkeypatch.context() as patch:
        counter.install(patch.setattr)
        act()
    assert counter.num_calls
    for fail_at in range(1, counter.num_calls + 1):
        with monkeypatch.context() as patch:
            disk = FailingDisk(fail_at, kind).install(patch.setattr)
            try:
                act()
                error = None
            except SetupError as caught:
                error = caught
        assert disk.failed or kind == "short"
        assert (error is None) == (kind == "short"), f"{kind} at call {fail_at}, {disk.failed}: {error}"
        yield error


# ---- failing disks


@pytest.mark.crash
@pytest.mark.parametrize("kind", KINDS)
def test_a_save_that_fails_anywhere_names_the_path_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    Checkpoints(tmp_path, {}, 2).save(5, tensors_of(5))

    def save() -> None:
        shutil.rmtree(tmp_path / "step-00000010", ignore_errors=True)
        Checkpoints(tmp_path, {}, 2).save(10, tensors_of(10))

    for error in fail_each_call(save, monkeypatch, kind):
        if error:
            assert str(tmp_path) in error.where
        for path in tmp_path.glob("step-*"):
            open_artefact(path, KIND)
        assert not find_leftovers(tmp_path)
        newest = Checkpoints(tmp_path, {}, 2).load_newest(fail_on_damage) or {}
        assert int(newest["step"]) in ((5, 10) if error else (10,))
        assert (tmp_path / "step-00000005").is_dir()


@pytest.mark.crash
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_that_cannot_be_published_whole_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    recipe, state = start()
    films = SeenFilms(np.array(["a"]), np.array(["1"]), np.array([b"00"]))
    dest = tmp_path / "encoder"

    def publish() -> None:
        shutil.rmtree(dest, ignore_errors=True)
        publish_encoder(dest, state.model.published, recipe, NOWHERE, films)

    for error in fail_each_call(publish, monkeypatch, kind):
        if error:
            assert str(tmp_path) in error.where
        assert not find_leftovers(tmp_path)
        if dest.exists():
            open_artefact(dest, ENCODER_KIND)


def test_a_run_is_told_how_much_room_its_checkpoints_take_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = namedtuple("disk", "free")
    checkpoints = Checkpoints(tmp_path / "checkpoints", {}, 2)
    size = 100 * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(3 * size - 1))
    with pytest.raises(SetupError, match=r"300\.0 MiB free on the disk, 300\.0 MiB needed for 3 checkpoints") as caught:
        checkpoints.check_space(size)
    assert str(tmp_path) in caught.value.where
    checkpoints.save(5, tensors_of(5))
    checkpoints.check_space(size)
    for step in (10, 15):
        checkpoints.save(step, tensors_of(step))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(size))
    checkpoints.check_space(size)


def test_the_size_of_a_checkpoint_is_known_before_there_are_moments() -> None:
    recipe, state = start()
    expected = state_bytes(state)
    take_steps(recipe, state, 1)
    true = len(serialise(flatten_state(state)))
    assert true <= expected <= true + 256 * len(flatten_state(state))


# ---- what is restored


def test_every_moment_and_weight_is_restored_bit_for_bit() -> None:
    recipe, state = start()
    take_steps(recipe, state, 3)
    saved = flatten_state(state)
    _, other = start()
    restore_state(other, saved)
    again = flatten_state(other)
    assert saved.keys() == again.keys()
    assert all(torch.equal(saved[name], again[name]) for name in saved)
    assert take_steps(recipe, state, 2) == take_steps(recipe, other, 2)


# ---- retention


class World:
    """A folder of checkpoints, and what this test knows of each: the bytes that were written."""

    def __init__(self, folder: Path, num_kept: int, rng: random.Random) -> None:
        self.folder, self.num_kept, self.rng = folder, num_kept, rng
        self.written: dict[Path, dict[str, bytes]] = {}
        self.restart()

    def whole(self) -> set[Path]:
        return {path for path in self.folder.glob("step-*") if files_in(path) == self.written.get(path)}

    def restart(self) -> None:
        """A process starts: it goes on from the newest whole checkpoint, or by hand from nothing."""
        self.checkpoints, self.is_untouched = Checkpoints(self.folder, {}, self.num_kept), True
        self.every = self.rng.choice([1, 2, 5])
        newest = max(self.whole(), default=None)
        try:
            tensors = self.checkpoints.load_newest(lambda _: None)
        except IntegrityError:
            assert newest is None
            shutil.rmtree(self.folder)
            tensors = None
        self.step = int(tensors["step"]) if tensors else 0
        assert self.step == (step_of(newest) if newest else 0)

    def save(self) -> None:
        before = self.whole()
        self.step += self.every
        path = self.checkpoints.save(self.step, tensors_of(self.step))
        self.written[path] = files_in(path)
        assert max(self.whole(), key=step_of) == path
        if self.is_untouched:
            wanted = sorted(before | {path}, key=step_of)[-self.num_kept :]
            assert set(wanted) <= self.whole()

    def fail(self) -> None:
        before = self.whole()
        path = self.folder / f"step-{self.step + self.every:08d}"
        with pytest.MonkeyPatch.context() as patch:
            FailingDisk(self.rng.randint(1, 12), self.rng.choice(["ENOSPC", "EACCES", "EIO"])).install(patch.setattr)
            with pytest.raises(SetupError):
                self.checkpoints.save(self.step + self.every, tensors_of(self.step + self.every))
        assert before <= self.whole()
        with contextlib.suppress(IntegrityError):
            open_artefact(path, KIND)
            self.written[path] = files_in(path)  # it had its name before the disk failed
        self.restart()

    def delete(self) -> None:
        self._touch(shutil.rmtree)

    def damage(self) -> None:
        def harm(folder: Path) -> None:
            path = folder / self.rng.choice([STATE_FILE, "manifest.json"])
            data = path.read_bytes() if path.exists() else b""
            place = self.rng.randrange(len(data) + 1)
            path.write_bytes(self.rng.choice([data[:place], data[:place] + b"?" + data[place:]]))

        self._touch(harm)

    def _touch(self, act: Callable[[Path], object]) -> None:
        found = sorted(self.folder.glob("step-*"))
        if found:
            act(self.rng.choice(found))
            self.is_untouched = False


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.crash
@settings(max_examples=scaled(60, 2000), deadline=None)
@given(
    acts=st.lists(st.sampled_from(["save", "save", "save", "fail", "delete", "damage", "restart"]), max_size=20),
    num_kept=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_the_newest_whole_checkpoint_stays_whatever_is_saved_failed_deleted_and_damaged(
    acts: list[str], num_kept: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # nobody pulls the plug
        world = World(Path(folder) / "checkpoints", num_kept, random.Random(seed))
        for act in acts:
            getattr(world, act)()


def test_a_damaged_checkpoint_does_not_count_among_those_that_are_kept(tmp_path: Path) -> None:
    """The run goes on from step 10 with shorter intervals, below the damaged checkpoint of step 15."""
    checkpoints = Checkpoints(tmp_path, {}, 2)
    for step in (10, 15):
        checkpoints.save(step, tensors_of(step))
    (tmp_path / "step-00000015" / STATE_FILE).write_bytes(b"")
    checkpoints = Checkpoints(tmp_path, {}, 2)
    damaged: list[IntegrityError] = []
    newest = checkpoints.load_newest(damaged.append) or {}
    assert int(newest["step"]) == 10
    assert len(damaged) == 1
    left = {}
    for step in (11, 12, 16, 17):
        checkpoints.save(step, tensors_of(step))
        left[step] = sorted(step_of(path) for path in tmp_path.glob("step-*"))
    assert left == {11: [10, 11, 15], 12: [11, 12, 15], 16: [12, 15, 16], 17: [16, 17]}
