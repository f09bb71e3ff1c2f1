"""Artefacts: whole or absent, every damaged byte seen, a failed write never called a success."""

import errno
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core import artefact, building, durable
from cxrssl.core.artefact import is_published, open_artefact, publish, remove_artefact
from cxrssl.core.building import AGE_S
from cxrssl.core.durable import find_leftovers, hash_settings, remove_leftover, write_bytes
from cxrssl.core.errors import FormatError, IntegrityError, SetupError, UsageError
from cxrssl.core.process import owner_mark
from cxrssl.core.signals import end_on_signals
from tests.faults import KINDS, FailingDisk

NUM_FLIPS = 60


def make(dest: Path, content: bytes = b"content", **settings: Any) -> Path:
    with publish(dest, "thing", settings) as folder:
        write_bytes(folder / "data.bin", content)
    return dest


def test_what_was_published_is_found_again_with_its_settings(tmp_path: Path) -> None:
    found = open_artefact(make(tmp_path / "a", size=3), "thing")
    assert found.settings == {"size": 3}
    assert is_published(tmp_path / "a", "thing", {"size": 3})
    assert not is_published(tmp_path / "a", "thing", {"size": 4})


def test_equal_content_has_equal_hashes_whenever_it_was_made(tmp_path: Path) -> None:
    first, second = (open_artefact(make(tmp_path / name), "thing") for name in "ab")
    assert first.content_sha256 == second.content_sha256


def test_every_flipped_bit_and_every_cut_is_seen(tmp_path: Path) -> None:
    make(tmp_path / "a", bytes(range(256)) * 40)
    rng = np.random.default_rng(0)
    for name in ("data.bin", "manifest.json"):
        path = tmp_path / "a" / name
        whole = path.read_bytes()
        for trial in range(NUM_FLIPS):
            damaged = bytearray(whole)
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged if trial % 2 else whole[: int(rng.integers(len(whole)))])
            with pytest.raises(IntegrityError):
                open_artefact(tmp_path / "a", "thing")
        path.write_bytes(whole)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match=r"manifest\.json"):
            open_artefact(tmp_path / "a", "thing")
    path.write_bytes(whole)
    open_artefact(tmp_path / "a", "thing")


def test_a_failure_while_filling_leaves_the_old_version_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), publish(tmp_path / "a", "thing", {}) as folder:
        write_bytes(folder / "data.bin", b"new")
        raise ZeroDivisionError
    assert (tmp_path / "a/data.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_new_version_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    make(tmp_path / "a", b"old")
    make(tmp_path / "a", b"new")
    assert (tmp_path / "a/data.bin").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_publishing_leaves_alone_what_is_being_built_under_a_longer_name(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), publish(tmp_path / "mimic-small", "thing", {}, resume_key="k") as folder:
        write_bytes(folder / "part.bin", b"kept")
        raise KeyboardInterrupt
    make(tmp_path / "mimic")
    with publish(tmp_path / "mimic-small", "thing", {}, resume_key="k") as folder:
        assert (folder / "part.bin").read_bytes() == b"kept"


def test_what_a_living_process_builds_is_not_taken_for_a_left_over(tmp_path: Path) -> None:
    with publish(tmp_path / "a", "thing", {}) as alive:
        gone = tmp_path / f".building-a~new~{owner_mark()}"
        gone.mkdir()
        make(tmp_path / "a")
        assert alive.is_dir()
        assert not gone.exists()
        shutil.rmtree(tmp_path / "a")


def test_what_another_machine_builds_is_left_over_only_when_it_is_old(tmp_path: Path) -> None:
    """Of its locks nothing is known here; nor of those of this machine before its last start."""
    host, _, rest = owner_mark().split("~")
    young, old = (tmp_path / f".building-a~new~{host}~{boot}~{rest}" for boot in ("00000000", "11111111"))
    for folder in (young, old):
        folder.mkdir()
        (folder / "data.bin").write_bytes(b"")
    for path in (old, old / "data.bin"):
        os.utime(path, times=(time.time() - 2 * AGE_S,) * 2)
    make(tmp_path / "a")
    assert young.is_dir()
    assert not old.exists()


def test_an_older_version_of_the_program_has_left_what_only_its_age_tells(tmp_path: Path) -> None:
    (tmp_path / ".building-a~1").mkdir()
    make(tmp_path / "a")
    assert (tmp_path / ".building-a~1").exists()
    os.utime(tmp_path / ".building-a~1", times=(0, 0))
    make(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("may_exchange", [True, False])
@pytest.mark.parametrize("is_there", [True, False])
def test_of_two_that_publish_at_once_one_wins_and_the_other_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    may_exchange: bool,
    is_there: bool,
) -> None:
    if not may_exchange:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    if is_there:
        make(tmp_path / "a", b"before")
    mine = publish(tmp_path / "a", "thing", {"mine": True})
    with pytest.raises(UsageError, match="another process has published a meanwhile"), mine as folder:
        write_bytes(folder / "data.bin", b"lost")
        make(tmp_path / "a", b"won", mine=False)
    assert content_of(tmp_path / "a") == b"won"
    with publish(tmp_path / "a", "thing", {"mine": True}) as folder:
        write_bytes(folder / "data.bin", b"second")
        make(tmp_path / "a", b"first", mine=True)
    assert "another process has published a meanwhile" in capsys.readouterr().err
    assert content_of(tmp_path / "a") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_version_that_another_machine_slips_in_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no lock is seen: between the look at the old version and the exchange."""
    make(tmp_path / "a", b"before")
    exchange = building._exchange

    def slip_in(one: Path, other: Path) -> bool:
        monkeypatch.setattr(building, "_exchange", exchange)
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(tmp_path / "elsewhere", tmp_path / "a")
        return exchange(one, other)

    make(tmp_path / "elsewhere", b"slipped in")
    monkeypatch.setattr(building, "_exchange", slip_in)
    with pytest.raises(UsageError, match="meanwhile"):
        make(tmp_path / "a", b"lost", mine=True)
    assert content_of(tmp_path / "a") == b"slipped in"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "elsewhere"}


def test_a_folder_taken_for_a_left_over_before_its_owner_could_lock_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, made = os.mkdir, []

    def lose_the_first(path: Path, *mode: int) -> None:
        mkdir(path, *mode)
        made.append(path)
        if len(made) == 1:
            os.rmdir(path)

    monkeypatch.setattr(os, "mkdir", lose_the_first)
    make(tmp_path / "a")
    assert len(made) == 2
    assert content_of(tmp_path / "a") == b"content"


def test_what_a_dead_process_has_begun_is_taken_over_and_what_a_living_one_does_is_not(tmp_path: Path) -> None:
    with publish(tmp_path / "a", "thing", {}, resume_key="k") as alive:
        write_bytes(alive / "part.bin", b"of a living one")
        with pytest.raises(KeyboardInterrupt), publish(tmp_path / "a", "thing", {}, resume_key="k") as folder:
            assert not list(folder.iterdir())
            write_bytes(folder / "part.bin", b"of a dead one")
            raise KeyboardInterrupt
        with publish(tmp_path / "a", "thing", {}, resume_key="k") as again:
            assert again != folder
            assert (again / "part.bin").read_bytes() == b"of a dead one"
        shutil.rmtree(tmp_path / "a")
    assert (tmp_path / "a/part.bin").read_bytes() == b"of a living one"


def test_what_a_version_replaces_is_never_found_as_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, or interrupted, after the exchange and before the older version is removed."""
    make(tmp_path / "a", b"old")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: os._exit(0))
        with publish(tmp_path / "a", "thing", {}, resume_key="k") as folder:
            write_bytes(folder / "data.bin", b"new")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert content_of(tmp_path / "a") == b"new"
    shutil.rmtree(tmp_path / "a")
    with publish(tmp_path / "a", "thing", {}, resume_key="k") as folder:
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_signal_in_the_moment_of_the_exchange_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a", b"old")
    exchange = building._exchange

    def interrupted(one: Path, other: Path) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return exchange(one, other)

    monkeypatch.setattr(building, "_exchange", interrupted)
    with end_on_signals() as stop:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "a", b"new")
        assert stop.error().what.endswith(f"saved: {tmp_path.name}/a")
    assert content_of(tmp_path / "a") == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    other = tmp_path / f".building-a1~new~{owner_mark()}"
    left = tmp_path / f".building-a[1]~new~{owner_mark()}"
    other.mkdir()
    left.mkdir()
    make(tmp_path / "a[1]")
    assert (other.exists(), left.exists()) == (True, False)


@pytest.mark.crash
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("may_exchange", [True, False])
def test_a_disk_that_fails_anywhere_ends_in_a_setup_error_and_the_old_version_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, may_exchange: bool
) -> None:
    """The n-th call fails, for n = 1, 2, 3 ... until a publication goes through; a short write is made good."""
    if not may_exchange:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    dest = tmp_path / "a"
    for fail_at in itertools.count(1):
        make(dest, b"old")
        with monkeypatch.context() as patch:
            disk = FailingDisk(fail_at, kind).install(patch.setattr)
            try:
                make(dest, b"new")
            except SetupError as error:
                assert str(tmp_path) in error.where
                assert kind != "short"
            else:
                assert kind == "short" or disk.num_calls < fail_at
        if kind == "short" or not disk.failed:
            assert content_of(dest) == b"new"
        if not dest.exists():  # so full a disk that even the renaming back failed: the next process does it
            assert (kind, may_exchange) == ("ENOSPC", False)
            interrupt_publishing(dest)
        assert content_of(dest) in (b"old", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        if disk.num_calls < fail_at:
            break
    assert fail_at > 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_whole_or_as_it_was_wherever_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "file"
    for fail_at in itertools.count(1):
        write_bytes(path, b"old" * 9)
        with monkeypatch.context() as patch:
            disk = FailingDisk(fail_at, kind).install(patch.setattr)
            try:
                write_bytes(path, b"new" * 8)
            except SetupError as error:
                assert str(tmp_path) in error.where
                assert path.read_bytes() in (b"old" * 9, b"new" * 8)
            else:
                assert kind == "short" or not disk.failed
                assert path.read_bytes() == b"new" * 8
        assert list(tmp_path.iterdir()) == [path]
        if disk.num_calls < fail_at:
            break
    assert fail_at > 5


def interrupt_publishing(dest: Path) -> None:
    with pytest.raises(KeyboardInterrupt), publish(dest, "thing", {}):
        raise KeyboardInterrupt


def content_of(dest: Path) -> bytes:
    open_artefact(dest, "thing")
    return (dest / "data.bin").read_bytes()


def test_a_process_killed_between_two_renames_leaves_the_old_version_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system cannot exchange two folders."""
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    make(tmp_path / "a", b"old")
    child = os.fork()
    if child == 0:
        durable._KILL_AT = "publish-between-renames:1"
        make(tmp_path / "a", b"new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    interrupt_publishing(tmp_path / "a")
    assert content_of(tmp_path / "a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_being_removed_has_lost_its_name_first_and_is_found_as_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a")
    names = []
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda folder, **_: names.append((folder.name, (tmp_path / "a").exists())))
        remove_artefact(tmp_path / "a")
    ((name, was_there),) = names
    assert name.startswith(".building-a~removed~")
    assert not was_there
    (leftover,) = find_leftovers(tmp_path)
    remove_leftover(leftover)
    assert not list(tmp_path.iterdir())


def test_a_file_that_the_disk_cannot_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a")

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(artefact, "sha256_file", fail)
    with pytest.raises(IntegrityError, match=r"data\.bin cannot be read: input/output error"):
        open_artefact(tmp_path / "a", "thing")


def test_a_kind_is_not_taken_for_another(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(IntegrityError, match='not "checkpoint"'):
        open_artefact(tmp_path / "a", "checkpoint")
    manifest = json.loads((tmp_path / "a/manifest.json").read_text()) | {"format_version": 99}
    del manifest["manifest_sha256"]
    newer = manifest | {"manifest_sha256": hash_settings(manifest)}
    (tmp_path / "a/manifest.json").write_text(json.dumps(newer))
    with pytest.raises(FormatError, match="newer cxrssl"):
        open_artefact(tmp_path / "a", "thing")


def test_what_a_newer_version_published_is_called_newer_and_is_not_there_to_be_replaced(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", size=3)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["manifest_sha256"], manifest["settings"]  # as a format may say that is not known here
    manifest["format_version"] = 99
    (folder / "manifest.json").write_text(json.dumps(manifest | {"manifest_sha256": hash_settings(manifest)}))
    for look in (lambda: open_artefact(folder, "thing"), lambda: is_published(folder, "thing", {"size": 3})):
        with pytest.raises(FormatError, match="written by a newer cxrssl"):
            look()
