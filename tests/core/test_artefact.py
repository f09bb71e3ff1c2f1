"""Artefacts: whole or absent, every damaged byte seen, a failed write never called a success."""

import json
import os

import numpy as np
import pytest

from cxrssl.core.artefact import hash_settings, is_published, open_artefact, publish, write_bytes
from cxrssl.core.errors import IntegrityError, SetupError

NUM_FLIPS = 60


def make(dest, content=b"content", **settings):
    with publish(dest, "thing", settings) as folder:
        write_bytes(folder / "data.bin", content)
    return dest


def test_what_was_published_is_found_again_with_its_settings(tmp_path):
    artefact = open_artefact(make(tmp_path / "a", size=3), "thing")
    assert artefact.settings == {"size": 3}
    assert is_published(tmp_path / "a", "thing", {"size": 3})
    assert not is_published(tmp_path / "a", "thing", {"size": 4})


def test_equal_content_has_equal_hashes_whenever_it_was_made(tmp_path):
    first, second = (open_artefact(make(tmp_path / name), "thing") for name in "ab")
    assert first.content_sha256 == second.content_sha256


def test_every_flipped_bit_and_every_cut_is_seen(tmp_path):
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
    open_artefact(tmp_path / "a", "thing")


def test_a_failure_while_filling_leaves_the_old_version_and_nothing_else(tmp_path):
    make(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), publish(tmp_path / "a", "thing", {}) as folder:
        write_bytes(folder / "data.bin", b"new")
        raise ZeroDivisionError
    assert (tmp_path / "a/data.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_new_version_takes_the_place_of_the_old_one(tmp_path):
    make(tmp_path / "a", b"old")
    make(tmp_path / "a", b"new")
    assert (tmp_path / "a/data.bin").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_publishing_leaves_alone_what_is_being_built_under_a_longer_name(tmp_path):
    with pytest.raises(KeyboardInterrupt), publish(tmp_path / "mimic-small", "thing", {}, resume_key="k") as folder:
        write_bytes(folder / "part.bin", b"kept")
        raise KeyboardInterrupt
    make(tmp_path / "mimic")
    with publish(tmp_path / "mimic-small", "thing", {}, resume_key="k") as folder:
        assert (folder / "part.bin").read_bytes() == b"kept"


def test_what_a_living_process_builds_is_not_taken_for_a_left_over(tmp_path):
    alive, gone = tmp_path / f".building-a~{os.getppid()}", tmp_path / ".building-a~999999999"
    alive.mkdir()
    gone.mkdir()
    make(tmp_path / "a")
    assert alive.is_dir()
    assert not gone.exists()


@pytest.mark.parametrize("call", ["fsync", "replace", "rename", "mkdir"])
def test_a_disk_that_fails_anywhere_ends_in_a_setup_error_and_the_old_version_stays(tmp_path, monkeypatch, call):
    """The n-th call fails, for n = 1, 2, 3 ... until one publication goes through."""
    make(tmp_path / "a", b"old")
    # An older version is exchanged with the new one; os.rename serves where there is none yet.
    dest = tmp_path / ("b" if call == "rename" else "a")
    original = getattr(os, call)
    for failing in range(1, 20):
        seen = []

        def fail(*args, failing=failing, seen=seen, **kwargs):
            seen.append(1)
            if len(seen) == failing:
                raise OSError(28, "No space left on device", str(args[0]))
            return original(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                make(dest, b"new")
            except SetupError as error:
                assert "no space left" in error.what
                assert open_artefact(tmp_path / "a", "thing")
                continue
        if len(seen) < failing:
            break
    assert failing > 1, "the call was never made, so nothing was tested"
    assert (dest / "data.bin").read_bytes() == b"new"


def test_a_kind_is_not_taken_for_another(tmp_path):
    make(tmp_path / "a")
    with pytest.raises(IntegrityError, match="not a checkpoint"):
        open_artefact(tmp_path / "a", "checkpoint")
    manifest = json.loads((tmp_path / "a/manifest.json").read_text()) | {"format_version": 99}
    del manifest["manifest_sha256"]
    newer = manifest | {"manifest_sha256": hash_settings(manifest)}
    (tmp_path / "a/manifest.json").write_text(json.dumps(newer))
    with pytest.raises(IntegrityError, match="newer cxrssl"):
        open_artefact(tmp_path / "a", "thing")
