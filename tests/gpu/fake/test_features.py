"""The loop of features on a GPU that computes nothing: it waits for nothing but copies that it asked for before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.gpu.fake.test_step import HERE, build_stub

NUM_BATCHES = 5


def run_loop(folder: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.gpu.fake.features", *words]
    done = subprocess.run(command, env=build_stub(folder), cwd=HERE.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_features_wait_for_no_batch_and_mix_no_devices(tmp_path: Path) -> None:
    found = run_loop(tmp_path)
    assert found["waits"] == []
    assert found["mixed"] == []
    assert 0 < found["num_kernels"] < 200 * NUM_BATCHES
    assert [row for batch in found["arrived"] for row in batch] == list(range(20))


def test_a_batch_that_is_brought_at_once_is_found(tmp_path: Path) -> None:
    assert len(run_loop(tmp_path, "planted")["waits"]) == NUM_BATCHES
