"""Compiled steps: the losses of uncompiled ones in whole graphs, made once; and no run is lost without a compiler.

In CI the graphs are captured, functionalised and run by torch itself; with CXRSSL_FULL=1 the C++ compiler makes them.
"""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import _dynamo, _inductor

from cxrssl.core.errors import IntegrityError
from cxrssl.model.objective import Objective
from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import BACKBONES
from cxrssl.train.checkpoint import Checkpoints
from cxrssl.train.compiler import INDUCTOR, choose_compile, compile_model
from cxrssl.train.guard import Guard
from cxrssl.train.loop import checkpoint_settings
from cxrssl.train.plan import plan_run
from cxrssl.train.ranks import Ranks
from cxrssl.train.schedule import StepSettings
from cxrssl.train.state import init_state
from cxrssl.train.step import Batch, split_batch, take_step
from cxrssl.views.draw import Views, make_views
from tests.scale import scaled
from tests.small_runs import fail_on_damage
from tests.world import TINY, make_workspace

CPU = torch.device("cpu")
NUM_FILMS, NUM_STEPS, NUM_EHR = 8, 4, 3
CASES = [("aot_eager", 4, "fp32"), ("aot_eager", 0, "bf16"), ("aot_eager", 0, "fp32"), ("aot_eager", 3, "fp32"),
         (INDUCTOR, 0, "fp32"), (INDUCTOR, 3, "fp32"), (INDUCTOR, 4, "bf16")][: scaled(1, 7)]  # fmt: skip
NUM_GRAPHS = {0: 3, 4: 4, 3: 7}
"""Of targets, anchors and loss; in parts also of anchors without gradient; 8 films by 3 are parts of two sizes."""


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    """No graph of another test, and no count of it."""
    _dynamo.reset()
    _dynamo.utils.counters.clear()


def take_steps(
    monkeypatch: pytest.MonkeyPatch, micro_batch: int, precision: str, backend: str = ""
) -> tuple[list[float], list[int], Objective]:
    """Return losses and number of graphs after each of some steps of a model of two blocks, and the model."""
    monkeypatch.setitem(BACKBONES, "vit-micro", (24, 2, 3))
    recipe = load_recipe(
        "demo", [*TINY, "objective.queue_size=16", f"train.precision={precision}"], {"ehr": {"features": ["sex"]}}
    )
    state = init_state(recipe, RecordColumns(NUM_EHR), CPU)
    if backend:
        compile_model(state.model, backend)
    generator = torch.Generator().manual_seed(0)
    films = torch.randint(0, 256, (NUM_FILMS, 48, 48), dtype=torch.uint8, generator=generator)
    valid = torch.tensor([[0.0, 4.0, 48.0, 40.0]]).expand(NUM_FILMS, 4)
    ehr = torch.rand(NUM_FILMS, NUM_EHR, generator=generator)
    guard, now = Guard(state.optimizer, CPU), StepSettings(lr=1e-4, weight_decay=0.04, ema_momentum=0.9, progress=0.0)
    losses: list[float] = []
    graphs: list[int] = []
    for _ in range(NUM_STEPS):

        def views_of(part: slice) -> Views:
            return make_views(films[part], valid, state.model.view_plan, 5, state.step, part)

        batch = Batch(views_of, Record(ehr), split_batch(NUM_FILMS, 0, 1, micro_batch))
        loss, _ = take_step(state, batch, now, guard, recipe.train)
        losses.append(loss.total.item())
        graphs.append(_dynamo.utils.counters["stats"]["unique_graphs"])
    return losses, graphs, state.model


@pytest.mark.parametrize(("backend", "micro_batch", "precision"), CASES)
def test_compiled_steps_have_the_losses_of_uncompiled_ones_in_whole_graphs_made_once(
    monkeypatch: pytest.MonkeyPatch, backend: str, micro_batch: int, precision: str
) -> None:
    expected, _, plain = take_steps(monkeypatch, micro_batch, precision)
    found, graphs, compiled = take_steps(monkeypatch, micro_batch, precision, backend)
    # Operations that a compiler joins are rounded to bf16 once.
    assert found == pytest.approx(expected, rel=1e-5 if precision == "fp32" else 5e-2)
    assert graphs == [NUM_GRAPHS[micro_batch]] * NUM_STEPS
    assert not _dynamo.utils.counters["graph_break"]
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert [name for name, _ in compiled.trained_parameters()] == [name for name, _ in plain.trained_parameters()]


def test_a_machine_without_a_compiler_says_so_in_one_sentence_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_inductor.config.cpp, "cxx", ("no-such-compiler",))
    assert not choose_compile("on", CPU, Ranks())
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("cxrssl: note: the steps run uncompiled, as no compiler works here: ")


def test_auto_leaves_the_cpu_uncompiled_without_a_trial(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "compile", pytest.fail)
    assert not choose_compile("auto", CPU, Ranks())
    assert not choose_compile("off", torch.device("cuda"), Ranks())
    assert not capsys.readouterr().err


def test_a_run_does_not_go_on_compiled_where_it_began_uncompiled(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=20)
    plan = plan_run(workspace, "nih", load_recipe("demo", TINY), Machine("cpu", 1))
    off, on = (checkpoint_settings(plan, CPU, Ranks(), is_compiled) for is_compiled in (False, True))
    Checkpoints(tmp_path / "checkpoints", off, 2).save(3, {"step": torch.tensor(3)})
    with pytest.raises(IntegrityError, match="another compile: off, now on"):
        Checkpoints(tmp_path / "checkpoints", on, 2).load_newest(fail_on_damage)
    assert (
        plan_run(workspace, "nih", plan.recipe, dataclasses.replace(plan.machine, compile="on")).run_id == plan.run_id
    )
