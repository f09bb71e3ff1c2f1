"""Runs of eight steps through the command line: what `pretrain` itself writes, for every kind of run.

In: a source tree with the package, whose commands run in processes of their own with one thread each. Out: numbers of
each step, and hashes of all tensors. As a script, `python -m tests.golden.loop`, it writes the golden files; do that
only where a change of the numbers was meant, and state it in the commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from cxrssl.records.steps import USAGE
from tests.world import write_nih

FOLDER = Path(__file__).parent / "loop"
TREE = Path(__file__).parent.parent.parent
NUM_STEPS = 8
SMALL = [
    "model.backbone=vit-micro", "model.patch_px=8", "model.head_hidden_mult=1", "views.global_px=32",
    "views.focal_px=16", "views.num_focal=2", "objective.num_prototypes=8", "train.num_epochs=2",
    "train.lr=1e-4",
]  # fmt: skip
CASES: dict[str, list[str]] = {
    "strict": ["--recipe", "strict", "--set", "train.batch_size=8"],
    "paper": ["--recipe", "paper", "--set", "train.batch_size=12"],
    "strict-ehr": ["--recipe", "strict", "--ehr", "demo,meta", "--set", "train.batch_size=8"],
    "strict-queue": ["--recipe", "strict", "--set", "train.batch_size=8", "--set", "objective.queue_size=16"],
    "two-ranks": ["--recipe", "strict", "--set", "train.batch_size=8", "--gpus", "2"],
}
"""Each has four steps an epoch, of 24 patients' 34 train films or, for the paper's recipe, of all 48."""
CLOCKED = {"ts", "films_per_s", "data_frac", "memory_mb", "health_frac", *USAGE}
"""What the journal holds that differs from one run to the next."""


@dataclass(frozen=True)
class Trace:
    """What a run leaves that a change of the code may not change."""

    steps: list[dict[str, float]]
    """The journal's numbers of each step, without those that a clock makes."""
    tensors: list[str]
    """Hashes of the values of the last checkpoint's tensors and of the published weights, sorted: names may change."""

    def column(self, name: str) -> list[float]:
        """Return one number of every step."""
        return [step[name] for step in self.steps]


def make_workspace(folder: Path, tree: Path = TREE) -> Path:
    """Return a workspace in `folder` whose films were ingested by the package in `tree`."""
    films = folder / "nih"
    if not films.is_dir():
        write_nih(films, num_patients=24)
    workspace = folder / "workspace"
    run_command(tree, ["ingest", "nih", str(films), "--size", "48"], workspace)
    return workspace


def words_of(case: str) -> list[str]:
    """Return the command that trains a case."""
    overrides = [word for change in SMALL for word in ("--set", change)]
    return ["pretrain", *CASES[case], *overrides, "--cohort", "nih", "--device", "cpu", "--name", case]


def run_case(case: str, workspace: Path, tree: Path = TREE) -> Trace:
    """Train a case by the package in `tree` and return its trace."""
    run_command(tree, words_of(case), workspace)
    return read_trace(case, workspace)


def read_trace(case: str, workspace: Path) -> Trace:
    """Return the trace of a finished run."""
    (folder,) = (workspace / "runs").glob(f"nih-{case}-vit-micro-*")
    journals = sorted(folder.glob("metrics-*.jsonl"))
    lines = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    steps = [{key: value for key, value in line.items() if key not in CLOCKED} for line in lines]
    newest = max((folder / "checkpoints").glob("step-*")) / "state.safetensors"
    hashes = [
        hashlib.sha256(tensor.tobytes()).hexdigest()
        for path in (newest, folder / "encoder" / "encoder.safetensors")
        for tensor in load_file(path).values()
    ]
    return Trace(steps, sorted(hashes))


def run_command(tree: Path, words: list[str], workspace: Path) -> str:
    """Return what `cxrssl WORDS` of the package in `tree` prints, run with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(workspace)]
    found = subprocess.run(
        command, cwd=tree, env={**os.environ, **threads, "PYTHONPATH": str(tree)}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def write() -> None:
    """Write the golden file of every case."""
    with tempfile.TemporaryDirectory() as name:
        workspace = make_workspace(Path(name))
        for case in CASES:
            trace = run_case(case, workspace)
            numbers = {key: trace.column(key) for key in ("loss", "grad_norm")}
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{case}.json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    write()
