"""`--plan` tells the memory of a run before it is trained, within a tenth."""

import json
import subprocess
import sys

import pytest

from tests.scale import scaled
from tests.world import TINY, make_workspace

SETTINGS = {
    "whole batch": ["--set", "train.batch_size=32", "--set", "views.global_px=64", "--set", "views.num_focal=6"],
    "in parts": ["--set", "train.batch_size=32", "--micro-batch", "8", "--set", "views.global_px=96"],
    "wider": ["--backbone", "vit-tiny", "--set", "train.batch_size=16", "--set", "views.global_px=64"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("estimate"))


def run(workspace, name, *words):
    changes = [word for change in TINY for word in ("--set", change)]
    command = [sys.executable, "-m", "cxrssl", "pretrain", "--recipe", "demo", "--device", "cpu", "--threads", "1"]
    command += [*changes, "--epochs", "2", *words, "--name", name, "--workspace", str(workspace.root), "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.crash
@pytest.mark.parametrize("setting", list(SETTINGS)[: scaled(1, 3)])
def test_the_memory_foretold_is_within_a_tenth_of_what_the_run_takes(workspace, setting):
    name = setting.replace(" ", "-")
    foretold = run(workspace, name, *SETTINGS[setting], "--plan")
    folder = workspace.runs / foretold["run_id"]
    assert not folder.exists()
    result = run(workspace, name, *SETTINGS[setting])
    assert result["num_steps"] == foretold["num_steps"]
    records = (folder / "metrics-0001.jsonl").read_text().splitlines()
    taken = json.loads(records[-1])["memory_mb"] * 2**20
    assert foretold["memory_bytes"] == pytest.approx(taken, rel=0.1)
