"""The runs of an ablation as jobs of SLURM: what is submitted, what a job runs, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cxrssl.records.contract import read_contract
from tests.ablate.conftest import Place, Server
from tests.cli.command import run
from tests.launch.test_slurm import SBATCH, write_program


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    calls.mkdir()
    programs.mkdir()
    for name in ("sbatch", "srun"):
        write_program(programs / name, SBATCH)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("CALLS", str(calls))
    return calls


def test_each_run_that_is_not_done_is_a_job_that_makes_it_alone(server: Server, place: Place, cluster: Path) -> None:
    options = ["--slurm", "time=2:00:00", "--slurm", "cpus-per-task=3"]
    done = run(*place.words("--controls", *options))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("job 4242: ") for line in lines) == 8
    assert "--collect" in lines[-1]
    script = (cluster / "script.sh").read_text()
    assert "--time=120" in script
    assert "--gpus-per-node" not in script  # the command says --device cpu
    contract = read_contract(place.folder)
    assert (contract.device, contract.num_threads, contract.has_controls) == ("cpu", 3, True)
    jobs = sorted(place.workspace.jobs.glob("*/*_submitted.pkl"))
    assert len(jobs) == 8
    submitted = pickle.loads(jobs[0].read_bytes())  # noqa: S301  # submitit's own, written just now
    words = submitted.function.words
    run_id = words[words.index("--run") + 1]
    assert run_id == jobs[0].parent.name
    assert words[:2] == ("ablate", str(place.grid))
    code, text = server.run(*words)
    assert code == 0, text
    assert f"run {run_id} is done" in text
    assert place.workspace.run_ids() == [run_id]
    again = run(*place.words("--controls", *options))
    assert again.stdout.count("job 4242: ") == 7
    assert run_id not in again.stdout


def test_a_job_needs_a_time_limit_before_anything_is_written(place: Place, cluster: Path) -> None:
    refused = run(*place.words("--slurm", "partition=gpu"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "a SLURM job needs a time limit" in refused.stderr
    assert not place.folder.exists()
