"""`cxrssl runs tag, note, log, archive, rm, gc, stop, resume`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import UsageError
from cxrssl.core.journal import append_record
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import describe_process, start_ticks
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.records.notes import read_notes
from cxrssl.records.reader import read_run
from cxrssl.results import stop
from cxrssl.results.resume import find_place
from cxrssl.results.tidy import Waste, find_waste, remove_waste
from tests.cli.command import Result, run
from tests.records.folders import ELSEWHERE, make_encoder, make_evaluation, make_run

TRAINER = """
import json, os, signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps({"ts": time.time(), "event": "stop", "step": 7}) + "\\n")
    sys.exit(75)
signal.signal(signal.SIGTERM, end if sys.argv[2] == "polite" else signal.SIG_IGN)
print("ready", flush=True)
for _ in range(600):
    if sys.argv[2] == "attentive" and os.path.exists(sys.argv[1]) and "stop request" in open(sys.argv[1]).read():
        end()
    time.sleep(0.1)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    workspace.mark()
    make_run(workspace, "old", range(10), end="finish", num_steps=10)
    make_run(workspace, "needed", range(10), end="finish", num_steps=10)
    make_evaluation(workspace, "needed", "run", 0.75)
    return workspace


def call(workspace: Workspace, *words: str, text: str = "") -> Result:
    return run("runs", *words, workspace=workspace.root, text=text)


def test_tags_notes_and_numbers_are_said_and_taken_back(workspace: Workspace) -> None:
    before = {path: path.read_bytes() for path in (workspace.runs / "old").rglob("*") if path.is_file()}
    assert call(workspace, "tag", "old", "paper", "b").stdout == "old: b, paper\n"
    assert call(workspace, "tag", "old", "b", "--remove").stdout == "old: paper\n"
    assert call(workspace, "note", "old", "table 2").stdout == "old: table 2\n"
    assert call(workspace, "note", "old").stdout == "old: table 2\n"
    assert call(workspace, "note", "old", "").stdout == "old: no note\n"
    assert call(workspace, "log", "old", "external=0.81").stdout == "old: external = 0.81 at step 9\n"
    assert [(each.key, each.step, each.value) for each in read_notes(workspace.runs / "old").added] == [
        ("external", 9, 0.81)
    ]
    assert call(workspace, "archive", "old").stdout == "old archived\n"
    assert call(workspace, "archive", "old", "--undo").stdout == "old listed again\n"
    assert before.items() <= {path: path.read_bytes() for path in (workspace.runs / "old").rglob("*")}.items()
    for words in (["tag", "old", "a b"], ["log", "old", "loss=1"], ["log", "old", "x"], ["note", "old", "x" * 2001]):
        assert call(workspace, *words).returncode == 2, words


def test_a_run_is_removed_after_it_was_named_and_asked_for(workspace: Workspace) -> None:
    assert call(workspace, "rm", "old", text="n\n").returncode == 2
    assert "old: 0.0 MiB; journals, checkpoints, encoder" in call(workspace, "rm", "old", text="n\n").stderr
    assert call(workspace, "rm", "old", text="y\n").stdout.endswith("old removed\n")
    assert workspace.run_ids() == ["needed"]


def test_a_run_that_an_evaluation_needs_or_that_runs_is_not_removed(workspace: Workspace) -> None:
    refused = call(workspace, "rm", "needed", "--yes")
    assert refused.returncode == 2
    assert "run needed is needed by 1 evaluation (needed-on-mimic-paper-0)" in refused.stderr
    assert call(workspace, "rm", "needed", "--yes", "--anyway").returncode == 0
    assert (workspace.evals / "needed-on-mimic-paper-0").is_dir()
    make_run(workspace, "live", range(3))
    assert "run live is running" in call(workspace, "rm", "live", "--yes", "--anyway").stderr
    assert workspace.run_ids() == ["live", "old"]


def test_what_may_go_is_listed_and_goes_when_it_is_asked_for(workspace: Workspace) -> None:
    folder = workspace.runs / "old"
    for each in (folder, workspace.runs / "needed"):
        with publish(each / "checkpoints/step-00000010", "checkpoint", {"step": 10}) as building:
            write_bytes(building / "state.safetensors", bytes(3 << 20))
    make_encoder(folder)
    (workspace.images / "gone").mkdir(parents=True)
    for name, age in ((".building-young~new~a~b~c", 0), (".building-old~new~a~b~c", 2 * 86_400)):
        (workspace.evals / name).mkdir()
        os.utime(workspace.evals / name, (time.time() - age, time.time() - age))
    found = json.loads(call(workspace, "gc", "--json").stdout)["found"]
    assert [(each["kind"], Path(each["path"]).name) for each in found] == [
        ("checkpoints", "checkpoints"), ("packs", "gone"), ("leftovers", ".building-old~new~a~b~c")
    ]  # fmt: skip
    assert call(workspace, "gc").stdout.splitlines()[-1] == "3.0 MiB may go; remove it with --delete"
    assert call(workspace, "gc", "--only", "packs", "--delete").stdout.splitlines()[-1] == "0.0 MiB removed"
    assert (folder / "checkpoints").is_dir()
    assert call(workspace, "gc", "--delete").returncode == 0
    assert not (folder / "checkpoints").exists()
    assert (workspace.runs / "needed/checkpoints").is_dir()
    record = read_run(folder)
    assert record is not None
    assert record.state == "finished"
    assert json.loads(call(workspace, "gc", "--json").stdout)["found"] == []


def test_what_a_process_holds_or_wants_back_does_not_go(workspace: Workspace) -> None:
    """A version that was put aside is the only one while its place is empty, and the films of its cohort stay."""
    aside, held = workspace.cohorts / ".building-mimic~old~a~b~c", workspace.evals / ".building-e~new~a~b~c"
    (workspace.images / "mimic").mkdir(parents=True)
    for folder in (aside, held):
        folder.mkdir(parents=True)
        (folder / "only.txt").touch()
        for path in (folder / "only.txt", folder):
            os.utime(path, (time.time() - 2 * 86_400,) * 2)
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert find_waste(workspace) == []
    too_early = [Waste("leftovers", folder, "", 0) for folder in (aside, held)]
    remove_waste(workspace, too_early)
    assert aside.is_dir()
    assert held.is_dir()
    os.close(lock)
    (workspace.cohorts / "mimic").mkdir()
    assert [each.path for each in find_waste(workspace)] == [aside, held]
    assert call(workspace, "gc", "--delete").returncode == 0
    assert not aside.exists()
    assert not held.exists()


def test_a_second_process_that_removes_the_same_is_refused_or_finds_it_gone(workspace: Workspace) -> None:
    folder = workspace.runs / "old"
    with publish(folder / "checkpoints/step-00000010", "checkpoint", {"step": 10}) as building:
        write_bytes(building / "state.safetensors", bytes(1000))
    make_encoder(folder)
    waste = find_waste(workspace)
    busy = UsageError("held")
    with hold_lock(workspace.root / ".gc.lock", busy):
        refused = call(workspace, "gc", "--delete")
    assert (refused.returncode, "another process removes what may go" in refused.stderr) == (2, True), refused
    remove_waste(workspace, waste)
    remove_waste(workspace, waste)
    assert sorted(path.name for path in folder.iterdir()) == [
        "encoder",
        "events.jsonl",
        "metrics-0001.jsonl",
        "run.json",
    ]


@pytest.mark.crash
def test_a_run_whose_removal_was_killed_is_whole_or_gone_and_leaves_no_job(workspace: Workspace) -> None:
    jobs = workspace.jobs / "old"
    jobs.mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from cxrssl.core.workspace import Workspace\n"
        "from cxrssl.results.tidy import remove_run; w = Workspace(Path(sys.argv[1])); remove_run(w, w.runs / 'old')"
    )
    environment = {**os.environ, "CXRSSL_KILL_AT": "remove-after-rename:1"}
    done = subprocess.run([sys.executable, "-c", code, str(workspace.root)], env=environment, check=False)
    assert done.returncode == -9
    assert (workspace.run_ids(), jobs.exists()) == (["needed"], False)


def start_trainer(workspace: Workspace, manners: str) -> subprocess.Popen[str]:
    events = workspace.runs / "live/events.jsonl"
    process = subprocess.Popen([sys.executable, "-c", TRAINER, str(events), manners], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    about = {**describe_process(), "pid": process.pid, "pid_started": start_ticks(process.pid)}
    make_run(workspace, "live", range(8), process=about)
    return process


@pytest.mark.crash
def test_a_run_is_stopped_with_its_checkpoint_and_its_end_is_confirmed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "ANSWER_S", 0.3)
    process = start_trainer(workspace, "polite")
    stopped = call(workspace, "stop", "live")
    assert stopped.returncode == 0, stopped.stderr
    assert f"SIGTERM sent to process {process.pid}, which has not answered" in stopped.stdout
    assert stopped.stdout.splitlines()[-1] == "the run is stopped at step 7; the same pretrain command resumes it"
    assert process.wait() == 75
    again = call(workspace, "stop", "live")
    assert (again.returncode, "it is stopped" in again.stderr) == (2, True)


def test_a_run_that_sees_the_event_gets_no_signal(workspace: Workspace) -> None:
    process = start_trainer(workspace, "attentive")
    stopped = call(workspace, "stop", "live")
    assert stopped.stdout.splitlines() == [
        "run live was asked to stop; it looks once a second, after a step",
        "the run is stopped at step 7; the same pretrain command resumes it",
    ], stopped
    assert process.wait() == 75


@pytest.mark.parametrize("answers", [["stopping", "stop"], ["stop"], ["stopping"], []])
def test_a_run_of_another_host_is_asked_by_its_events_alone(
    workspace: Workspace, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(workspace, "far", range(3), process=ELSEWHERE)
    monkeypatch.setattr(stop, "POLL_S", 0.02)

    def answer() -> None:
        while "stop request" not in (folder / "events.jsonl").read_text():
            time.sleep(0.01)
        for event in answers:
            append_record(folder / "events.jsonl", {"event": event, "step": 3})

    thread = threading.Thread(target=answer)
    thread.start()
    asked = call(workspace, "stop", "far", "--wait", "0.5")
    thread.join()
    assert "its process is on another-host" in asked.stdout
    if "stop" in answers:
        assert asked.stdout.splitlines()[-1].startswith("the run is stopped at step 3"), asked
    else:
        assert (asked.returncode, "has not said within 0.5 s that it ended" in asked.stderr) == (4, True), asked


@pytest.mark.crash
def test_a_run_that_does_not_end_is_killed_only_when_it_is_asked_for(workspace: Workspace) -> None:
    process = start_trainer(workspace, "stubborn")
    refused = call(workspace, "stop", "live", "--wait", "0.3")
    assert (refused.returncode, process.poll()) == (4, None)
    assert "--kill" in refused.stderr
    killed = call(workspace, "stop", "live", "--wait", "0.3", "--kill")
    assert killed.returncode == 0, killed.stderr
    assert "was killed" in killed.stdout
    assert process.wait() == -9
    record = read_run(workspace.runs / "live")
    assert record is not None
    assert record.state == "stopped"


def test_a_process_that_is_not_certainly_the_runs_own_is_left_alone(workspace: Workspace) -> None:
    """Of another machine; or the same number, of a process that began at another time."""
    make_run(workspace, "far", range(3), process=ELSEWHERE)
    refused = call(workspace, "stop", "far", "--wait", "0.1")
    assert (refused.returncode, "it is on another-host" in refused.stderr) == (4, True)
    make_run(workspace, "reused", range(3), process={**describe_process(), "pid_started": 1})
    assert "does not run: it is died" in call(workspace, "stop", "reused").stderr


def test_a_job_of_slurm_is_cancelled_and_seen_off(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(workspace, "far", range(3), process=ELSEWHERE)
    jobs = workspace.jobs / "far"
    jobs.mkdir(parents=True)
    for number in ("99", "100"):
        (jobs / f"{number}_submission.sh").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("scancel", 'echo "$@" > $0.asked'), ("squeue", "true")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for squeue, code, said in (
        ("true", 4, "it is on another-host"),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", 4, "it is on another-host"),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", 4, "squeue does not say whether job 100 is in"),
    ):
        (tools / "squeue").write_text(f"#!/bin/sh\n{squeue}\n")
        refused = call(workspace, "stop", "far", "--wait", "0.1")
        assert (refused.returncode, said in refused.stderr) == (code, True), refused
        assert not (tools / "scancel.asked").exists()
    (tools / "squeue").write_text(f"#!/bin/sh\n[ -e {tools}/scancel.asked ] || echo 100 R\n")
    stopped = call(workspace, "stop", "far", "--wait", "0.1")
    assert stopped.stdout.splitlines()[1:] == [
        "scancel sent to job 100",
        "job 100 has left the queue",
        "its process ended without a word; what it saved before is there",
    ]
    assert (tools / "scancel.asked").read_text() == "100\n"


def test_a_run_that_waits_in_the_queue_to_be_started_again_is_cancelled(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(workspace, "far", range(3), end="stop", process=ELSEWHERE)
    (workspace.jobs / "far").mkdir(parents=True)
    (workspace.jobs / "far/7_submission.sh").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("scancel", "touch $0.asked"), ("squeue", f"[ -e {tools}/scancel.asked ] || echo 7 PD")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    stopped = call(workspace, "stop", "far")
    assert stopped.stdout.splitlines()[:2] == ["scancel sent to job 7", "job 7 has left the queue"], stopped
    assert "does not run: it is stopped" in call(workspace, "stop", "far").stderr


def test_a_run_whose_first_job_waits_is_cancelled_and_makes_no_run(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, jobs = tmp_path / "tools", workspace.jobs / "waits-vit-s0-1"
    tools.mkdir()
    jobs.mkdir(parents=True)
    (jobs / "7_submission.sh").touch()
    for name, text in (("scancel", "touch $0.asked"), ("squeue", f"[ -e {tools}/scancel.asked ] || echo 7 PD")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (workspace.runs / "waits-vit-s0-1").mkdir(parents=True)
    (workspace.runs / "waits-vit-s0-1/run.json").write_text("{")
    assert run("runs", "stop", "waits", workspace=workspace.root).returncode == 0
    assert jobs.is_dir(), "a run that cannot be read keeps the logs of its job"
    shutil.rmtree(workspace.runs / "waits-vit-s0-1")
    (tools / "scancel.asked").unlink()
    stopped = run("runs", "stop", "waits", workspace=workspace.root)
    assert stopped.stdout.splitlines() == [
        "scancel sent to job 7",
        "job 7 has left the queue",
        "the run had not begun; the same pretrain command submits it again",
    ], stopped
    assert "waits-vit-s0-1" not in workspace.run_ids()
    refused = run("runs", "stop", "waits", workspace=workspace.root)
    assert (refused.returncode, 'no run "waits"' in refused.stderr) == (2, True)
    assert "submitted" not in run("runs", "list", workspace=workspace.root).stdout


def test_a_run_whose_events_have_no_start_is_left_alone(workspace: Workspace) -> None:
    (make_run(workspace, "odd", range(3)) / "events.jsonl").write_text("")
    refused = call(workspace, "stop", "odd")
    assert (refused.returncode, "nothing says which process trains run odd" in refused.stderr) == (2, True)


def test_what_a_run_is_resumed_with_comes_from_the_run_itself(workspace: Workspace) -> None:
    recipe = load_recipe("demo", ["train.seed=7", "train.num_epochs=2"])
    folder = make_run(workspace, "mimic-msn-vit-micro-s7-00000001", range(3), end="stop")
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**about, "recipe": recipe.to_dict()})
    said = {"step": 3, "device": "cpu", "num_threads": "2", "micro_batch": "0", "compile": "off", "num_processes": "1"}
    with publish(folder / "checkpoints/step-00000003", "checkpoint", said):
        pass
    assert find_place(folder) == [
        ("--device", "cpu"), ("--machine", "num_threads=2"), ("--machine", "compile=off")
    ]  # fmt: skip
    line = call(workspace, "resume", folder.name, "--print").stdout
    assert line.startswith("cxrssl pretrain --cohort mimic --recipe demo ")
    assert line.endswith("--device cpu --machine num_threads=2 --machine compile=off\n")
    refused = call(workspace, "resume", folder.name)
    assert (refused.returncode, "no cohort" in refused.stderr) == (3, True), refused
    make_encoder(workspace.runs / "old")
    assert "run old is finished" in call(workspace, "resume", "old").stderr
