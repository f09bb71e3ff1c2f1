"""Jobs of SLURM: the batch script, what is told, and what becomes of a job that is stopped."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.launch.slurm import parse_minutes, parse_options
from tests.world import TINY, make_workspace

SBATCH = '#!/bin/sh\necho "$@" > "$CALLS/sbatch"\ncp "$1" "$CALLS/script.sh"\necho Submitted batch job 4242\n'
RECORD = '#!/bin/sh\necho "$@" >> "$CALLS/$(basename "$0")"\n'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("slurm"))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the calls of a cluster's programs, which take every job as number 4242 and run none."""
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    calls.mkdir()
    programs.mkdir()
    for name in ("sbatch", "srun", "scontrol", "sacct", "scancel"):
        write_program(programs / name, SBATCH if name == "sbatch" else RECORD)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    return calls


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(
    workspace: Workspace, *more: str, code: str = "from cxrssl.__main__ import main; main()"
) -> subprocess.CompletedProcess[str]:
    changes = [word for change in TINY for word in ("--set", change)]
    words = ["pretrain", "--recipe", "demo", "--device", "cuda", *changes, "--workspace", str(workspace.root), *more]
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=600)


ONE_LIMIT = ("--slurm", "time=24:00:00")


def test_the_batch_script_asks_for_what_the_command_says_and_the_job_is_told(
    workspace: Workspace, cluster: Path
) -> None:
    options = ["--slurm", "partition=gpu", "--slurm", "time=1-12", "--slurm", "cpus-per-task=6", "--slurm", "exclusive"]
    done = run(workspace, *options, "--nodes", "2", "--gpus", "4", "--name", "big", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    script = (cluster / "script.sh").read_text()
    log = workspace.jobs / told["run_id"] / "4242_0_log.out"
    lines = script.splitlines()
    for line in [
        "--partition=gpu",
        "--time=2160",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--gpus-per-node=4",
        "--cpus-per-task=6",
        "--exclusive",
        "--requeue",
        "--signal=USR2@180",
        "--open-mode=append",
        f"--job-name={told['run_id']}",
        f"--output={str(log).replace('4242', '%j')}",
    ]:
        assert f"#SBATCH {line}" in lines
    assert not [line for line in lines if "wckey" in line or "gres" in line]
    srun = next(line for line in lines if line.startswith("srun "))
    assert "--kill-on-bad-exit=1 --cpus-per-task=6" in srun
    assert f"{sys.executable} -u -m submitit.core._submit {log.parent}" in srun
    assert (told["job_id"], told["log"]) == ("4242", str(log))
    assert (log.parent / "4242_submission.sh").read_text() == script
    assert not (workspace.runs / told["run_id"]).exists()


def test_plan_prints_the_script_and_submits_nothing(workspace: Workspace, cluster: Path) -> None:
    done = run(workspace, *ONE_LIMIT, "--slurm", "gres=gpu:a100:2", "--gpus", "2", "--plan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#!/bin/bash")
    assert "#SBATCH --gres=gpu:a100:2" in done.stdout
    assert "gpus-per-node" not in done.stdout
    assert not list(cluster.iterdir())


def test_submitting_needs_no_torch_and_says_how_to_watch_and_to_stop(workspace: Workspace, cluster: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from cxrssl.__main__ import main; main()"
    done = run(workspace, *ONE_LIMIT, code=code)
    assert done.returncode == 0, done.stderr
    for words in ("job 4242: run nih-msn-", "4242_0_log.out", "squeue --job 4242", "scancel 4242"):
        assert words in done.stdout


def test_what_is_missing_is_said_in_one_sentence(
    workspace: Workspace, cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; sys.modules['submitit'] = None; from cxrssl.__main__ import main; main()"
    done = run(workspace, *ONE_LIMIT, code=code)
    assert done.returncode == 4
    assert "submitit, which is not installed" in done.stderr
    assert "pip install 'cxrssl[slurm]'" in done.stderr
    refusal = "sbatch: error: invalid partition specified: moon"
    write_program(tmp_path / "bin" / "sbatch", f'#!/bin/sh\necho "{refusal}" >&2\nexit 1\n')
    done = run(workspace, *ONE_LIMIT, "--slurm", "partition=moon")
    assert done.returncode == 4
    assert f"error: SLURM did not take the job: {refusal}" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(workspace, *ONE_LIMIT)
    assert done.returncode == 4
    assert "this machine has no SLURM: there is no sbatch" in done.stderr


def test_processes_that_nobody_starts_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(workspace, "--nodes", "2")
    assert done.returncode == 2
    assert "cannot start processes on 2 machines" in done.stderr
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    done = run(workspace, "--gpus", "4")
    assert done.returncode == 2
    assert "--gpus asks for 4 processes of this machine, and 2 were started" in done.stderr


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90:30", 91),
        ("24:00:00", 1440),
        ("0:0:30", 1),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("1-0:0:1", 1441),
    ],
)
def test_times_are_read_as_sbatch_reads_them(text: str, minutes: int) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "1h", "1-", "-5", "1:2:3:4", "1-2-3", "٣"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_minutes(text)


@pytest.mark.parametrize(
    "words", [["partition=gpu"], ["time=9", "nodes=2"], ["time=9", "qos="], ["time=9", "a=b\nrm x"], ["time=9", "9=9"]]
)
def test_words_that_are_no_options_of_sbatch_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_options(words)


STOPPED = """
import os, signal, sys
from pathlib import Path
from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.slurm.slurm import SlurmJobEnvironment
from cxrssl.launch.slurm import Job, _queue_again
from cxrssl.core.errors import Preempted

job = DelayedSubmission(Job(("pretrain", "--name", "x"), "cxrssl.cli.app:run"))
job.set_timeout(60, 3)
SlurmJobEnvironment()._handle_signals(JobPaths(sys.argv[1], "4242"), job)
stop = Preempted("stopped")
if sys.argv[2] == "person":
    stop.is_final = True
else:
    stop.asked_by = signal.Signals[sys.argv[2]]
_queue_again(stop)
sys.exit(stop.exit_code)
"""


def start_stopped_job(folder: Path, asked_by: str, rank: str = "0") -> subprocess.Popen[str]:
    place = {"SLURM_JOB_ID": "4242", "SLURM_PROCID": rank, "RANK": rank}
    environment = {**os.environ, "SUBMITIT_EXECUTOR": "slurm", **place}
    command = [sys.executable, "-c", STOPPED, str(folder), asked_by]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_warning_queues_the_job_again(cluster: Path, tmp_path: Path) -> None:
    job = start_stopped_job(tmp_path, "SIGUSR1")
    job.communicate(timeout=600)
    assert (cluster / "scontrol").read_text() == "requeue 4242\n"
    assert (tmp_path / "4242_submitted.pkl").exists()


def test_a_run_that_a_person_has_stopped_is_not_queued_again(cluster: Path, tmp_path: Path) -> None:
    assert start_stopped_job(tmp_path, "person").wait(timeout=600) == 75
    assert not list(cluster.iterdir())


def test_the_other_tasks_leave_without_an_exit_code_that_would_end_the_first(cluster: Path, tmp_path: Path) -> None:
    for asked_by in ("SIGUSR2", "SIGTERM", "person"):
        assert start_stopped_job(tmp_path, asked_by, rank="1").wait(timeout=600) == 0
    assert not list(cluster.iterdir())


def test_a_job_that_cannot_be_queued_again_says_so_and_leaves_with_75(cluster: Path, tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "scontrol", "#!/bin/sh\nexit 1\n")
    job = start_stopped_job(tmp_path, "SIGUSR2")
    _, errors = job.communicate(timeout=600)
    assert job.returncode == 75
    assert "cxrssl: the job was not queued again" in errors
    assert "Traceback" not in errors


def test_a_cancelled_job_waits_for_its_end_and_is_queued_again_only_if_a_warning_follows(
    cluster: Path, tmp_path: Path
) -> None:
    job = start_stopped_job(tmp_path, "SIGTERM")
    assert job.stderr is not None
    while "waiting for SLURM" not in job.stderr.readline():
        assert job.poll() is None
    job.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert job.poll() is None
    assert not (cluster / "scontrol").exists()
    job.send_signal(signal.SIGUSR2)
    job.communicate(timeout=600)
    assert (cluster / "scontrol").read_text() == "requeue 4242\n"
