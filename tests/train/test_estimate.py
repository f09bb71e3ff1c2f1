"""`--plan` tells the memory of a run before it is trained, within a tenth."""

import json
import subprocess
import sys

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.train.estimate import step_at
from tests.cli.command import run as run_here
from tests.scale import scaled
from tests.world import TINY, make_workspace

SETTINGS = {
    "with a queue": [
        "train.batch_size=32",
        "objective.num_prototypes=1024",
        "objective.queue_size=16384",
    ],
    "whole batch": ["train.batch_size=32", "views.global_px=64", "views.num_focal=6"],
    "in parts": ["train.batch_size=32", "views.global_px=96"],
    "wider": ["model.backbone=vit-tiny", "train.batch_size=16", "views.global_px=64"],
}
MICRO_BATCH = {"in parts": "8"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("estimate"))


def words_of(name: str, setting: str) -> list[str]:
    changes = [word for change in [*TINY, "train.num_epochs=1", *SETTINGS[setting]] for word in ("--set", change)]
    # A checkpoint each step: else the last record is written before the first save.
    keys = ["device=cpu", "num_threads=1", "checkpoint_every=1", f"micro_batch={MICRO_BATCH.get(setting, 0)}"]
    machine = [word for key in keys for word in ("--machine", key)]
    return ["pretrain", "--recipe", "demo", *machine, *changes, "--name", name, "--json"]


@pytest.mark.parametrize(
    ("line_s", "told_s"), [(0.5, 0.5), (-3.0, 0.2), (0.1, 0.2), (90.0, 1.0)], ids=["even", "below", "small", "steep"]
)
def test_a_busy_machine_cannot_bend_the_time_of_a_step_beyond_what_it_can_be(line_s: float, told_s: float) -> None:
    assert step_at(line_s, trial_s=0.2, times_larger=5.0) == told_s


@pytest.mark.crash
@pytest.mark.parametrize("setting", list(SETTINGS)[: scaled(1, len(SETTINGS))])
def test_the_memory_foretold_is_within_a_tenth_of_what_the_run_takes(workspace: Workspace, setting: str) -> None:
    words = words_of(setting.replace(" ", "-"), setting)
    told = run_here(*words, "--plan", workspace=workspace.root)
    assert told.returncode == 0, told.stderr
    foretold = json.loads(told.stdout)
    folder = workspace.runs / foretold["run_id"]
    assert not folder.exists()
    # A process of its own, whose peak is that of the run alone.
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(workspace.root)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["num_steps"] == foretold["num_steps"]
    records = (folder / "metrics-0001.jsonl").read_text().splitlines()
    taken = json.loads(records[-1])["memory_mb"] * 2**20
    assert foretold["memory_bytes"] == pytest.approx(taken, rel=0.1)
