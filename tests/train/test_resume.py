"""Between start and resume: what must not change is refused, what may differ changes no bit."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.errors import IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.reader import Reader
from cxrssl.ingest import ingest_dataset
from cxrssl.train.checkpoint import Checkpoints
from cxrssl.train.loop import checkpoint_settings, pretrain
from cxrssl.train.plan import RunPlan
from cxrssl.train.ranks import Ranks
from tests.small_runs import (
    CPU,
    fail_on_damage,
    plan_in,
    run_until,
    two_layers,  # noqa: F401
    weights_of,
    with_machine,
)
from tests.world import make_workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("resume"), num_patients=24)


# ---- what a resume must find unchanged


@pytest.fixture(scope="module")
def stopped(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """A run that was stopped after four steps."""
    plan = plan_in(tmp_path_factory.mktemp("stopped"), template)
    with pytest.MonkeyPatch.context() as patch:
        run_until(plan, 4, patch)
    return plan


def other_films(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "other", num_patients=24, seed=1)


def other_sizes(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "sizes", num_patients=24)
    ingest_dataset(workspace, IngestOptions("nih", tmp_path / "sizes" / "nih", size_px=40, num_workers=1))
    return workspace


CHANGED = {
    "recipe_sha256": lambda plan, tmp_path: plan_in(
        tmp_path, Workspace(plan.folder.parents[1]), overrides=("train.lr=2e-3",)
    ),
    "precision": lambda plan, tmp_path: plan_in(
        tmp_path, Workspace(plan.folder.parents[1]), overrides=("train.precision=bf16",)
    ),
    "cohort_sha256": lambda plan, tmp_path: plan_in(tmp_path, other_films(tmp_path)),
    "images_sha256": lambda plan, tmp_path: plan_in(tmp_path, other_sizes(tmp_path)),
    "micro_batch": lambda plan, tmp_path: with_machine(plan, micro_batch=4),
}


@pytest.mark.parametrize("key", CHANGED)
def test_a_resume_that_could_not_be_exact_is_refused_with_what_was_and_what_is(
    stopped: RunPlan, tmp_path: Path, key: str
) -> None:
    plan = dataclasses.replace(CHANGED[key](stopped, tmp_path), folder=stopped.folder)
    was, now = (checkpoint_settings(each, torch.device("cpu"), Ranks(), False)[key] for each in (stopped, plan))
    before = {
        path: path.read_bytes() for path in stopped.folder.rglob("*") if "checkpoints" in path.parts and path.is_file()
    }
    with pytest.raises(IntegrityError) as error:
        pretrain(plan)
    assert was != now
    assert error.value.what == f"this checkpoint was made with another {key}: {was}, now {now}"
    assert "or start another run with --name" in error.value.hint
    assert "step-00000004" in error.value.where
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize(
    ("key", "place", "hint"),
    [
        ("device", {"device": torch.device("cuda")}, "--device cpu"),
        ("num_processes", {"ranks": Ranks(0, 2)}, "--gpus 1"),
        ("compile", {"is_compiled": True}, "--machine compile=off"),
    ],
)
def test_a_resume_by_other_processes_or_devices_is_refused_and_told_how_to_go_on(
    stopped: RunPlan, key: str, place: dict[str, Any], hint: str
) -> None:
    usual: dict[str, Any] = {"device": torch.device("cpu"), "ranks": Ranks(), "is_compiled": False}
    was, now = (checkpoint_settings(stopped, **each) for each in (usual, usual | place))
    with pytest.raises(IntegrityError) as error:
        Checkpoints(stopped.folder / "checkpoints", now, 2).load_newest(fail_on_damage)
    assert error.value.what == f"this checkpoint was made with another {key}: {was[key]}, now {now[key]}"
    assert error.value.hint == f"resume with {hint}, or start another run with --name"


# ---- what may differ

MAY_DIFFER: dict[str, dict[str, Any]] = {
    "feed": {"feed": "resident"},
    "log interval": {"log_every": 3},
    "checkpoint interval": {"checkpoint_every": 5},
    "checkpoints kept": {"keep_checkpoints": 1},
    "health interval": {"health_every": 1},
    "probe interval": {"probe_every": 2},
    "on alarm": {"on_alarm": "stop"},
    "stall bound": {"stall_s": 300.0},
    "workspace moved": {},
    "dashboard open": {},
}


@pytest.fixture(scope="module")
def undisturbed(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    plan = plan_in(tmp_path_factory.mktemp("undisturbed"), template)
    pretrain(plan)
    return weights_of(plan)


@pytest.fixture(scope="module")
def half_done(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a run that was stopped after three steps."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.MonkeyPatch.context() as patch:
        run_until(plan_in(folder, template), 3, patch)
    return folder


@pytest.mark.parametrize("what", MAY_DIFFER)
def test_what_may_differ_between_start_and_resume_changes_no_bit(
    template: Workspace, half_done: Path, undisturbed: str, tmp_path: Path, what: str
) -> None:
    folder = tmp_path / ("another place" if what == "workspace moved" else half_done.name)
    shutil.copytree(half_done, folder, symlinks=True)
    plan = plan_in(folder, template, dataclasses.replace(CPU, **MAY_DIFFER[what]))
    with reading(plan) if what == "dashboard open" else contextlib.nullcontext():
        result = pretrain(plan)
    assert result.resumed_from == 3
    assert weights_of(plan) == undisturbed


@contextlib.contextmanager
def reading(plan: RunPlan) -> Iterator[None]:
    """The dashboard's reader at work, all the time."""
    reader, is_over, num_read = Reader(Workspace(plan.folder.parents[1])), threading.Event(), []
    has_begun = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            num_read.append(reader.read_state(plan.run_id).runs[0].step)
            has_begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert has_begun.wait(300)
    yield
    is_over.set()
    thread.join()
    assert num_read
