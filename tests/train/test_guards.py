"""A number that is not finite never reaches weights or target; a collapse is called; what should learn learns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cxrssl.core.errors import GuardStop
from cxrssl.core.workspace import Workspace
from cxrssl.model import msn
from cxrssl.model.msn import MSN
from cxrssl.model.objective import Loss, Objective, Tensors
from cxrssl.model.record import Record
from cxrssl.records.steps import USAGE, iter_metrics
from cxrssl.train import loop, recorder, step, usage
from cxrssl.train.loop import pretrain
from cxrssl.train.meter import HostCopy, Meter
from cxrssl.train.order import batch_rows
from cxrssl.train.plan import RunPlan
from cxrssl.train.schedule import settings_at
from cxrssl.train.state import TrainState
from cxrssl.views.draw import Views
from tests.scale import scaled
from tests.small_runs import (
    CPU,
    Watched,
    all_finite,
    bits,
    checkpoints_of,
    plan_in,
    read_run,
    two_layers,  # noqa: F401
    watched,
    weights_of,
    with_machine,
)
from tests.world import make_workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("guards"), num_patients=24)


# ---- a number that is not finite

PARTS = ("total", "cross_entropy", "memax", "target_entropy", "prototype_usage", "feature_std")
GRADIENTS = (
    "encoder.cls_token", "encoder.pos_embed", "encoder.blocks.0.attn.qkv.weight", "encoder.norm.bias", "head.1.weight",
    "head.6.weight", "prototypes", "fusion.embed.weight", "fusion.fuse.bias",
)  # fmt: skip
PLACES = (
    *(f"part {name}" for name in PARTS),
    *(f"gradient {name}" for name in GRADIENTS),
    "gradient norm",
    "target assignment",
    "target embedding",
    "target pixels",
    "random pixels",
    "focal pixels",
    "record",
    *(f"{moment} {name}" for moment in ("exp_avg", "exp_avg_sq") for name in ("encoder.pos_embed", "prototypes")),
)
VALUES = (math.nan, math.inf, -math.inf)
NUM_STEPS = 8


def poison(place: str, value: float, bad_step: int, watch: Watched, patch: pytest.MonkeyPatch) -> None:
    """Put `value` at `place` in step `bad_step` of the run that `watch` follows."""

    def is_due() -> bool:
        return watch.state.step == bad_step

    def after(owner: Any, name: str, change: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        def changed(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            return change(result, *args) if is_due() else result

        patch.setattr(owner, name, changed)

    def spoil(tensor: torch.Tensor) -> None:
        tensor.data[(0,) * tensor.ndim] = value

    def spoil_part(loss: Loss, *_: Any) -> Loss:
        name = place.removeprefix("part ")
        if name == "total":
            loss.total.data.fill_(value)
            return loss
        return dataclasses.replace(loss, numbers={**loss.numbers, name: torch.full_like(loss.numbers[name], value)})

    def spoil_gradient(loss: Loss, model: Objective, *_: Any) -> Loss:
        gradient = dict(model.named_parameters())[place.removeprefix("gradient ")].grad
        assert gradient is not None
        spoil(gradient)
        return loss

    def spoil_first(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        tensor = tensor.clone()
        spoil(tensor)
        return tensor

    def spoil_record(record: Record) -> Record:
        assert record.given_BM is not None
        return record._replace(given_BM=spoil_first(record.given_BM))

    def spoil_targets(targets: Tensors, *_: Any) -> Tensors:
        return tuple(spoil_first(tensor) for tensor in targets)

    def spoil_views(views: Views, *_: Any) -> Views:
        pixels = views[place.removesuffix(" pixels")].pixels_BV1PP
        pixels[0] = value  # all of a view: a masked patch would not be seen
        return views

    kind, _, name = place.partition(" ")
    if place == "gradient norm":
        after(step, "clip_gradients", lambda norm, *_: torch.full_like(norm, value))
    elif kind == "part":
        after(MSN, "compare", spoil_part)
    elif kind == "gradient":
        after(step, "backward", spoil_gradient)
    elif place == "target assignment":
        after(msn, "sinkhorn", spoil_first)
    elif place == "target embedding":
        after(MSN, "encode_targets", spoil_targets)
    elif name == "pixels":
        after(loop, "make_views", spoil_views)
    elif place == "record":
        compare: Any = MSN.compare
        patch.setattr(
            MSN, "compare", lambda *args: compare(*args[:-1], spoil_record(args[-1]) if is_due() else args[-1])
        )
    else:
        watch.at[bad_step] = lambda: spoil(
            watch.state.optimizer.state[dict(watch.state.model.named_parameters())[name]][kind]
        )


class LateMeter(Meter[Any]):
    """Numbers that are never there before they have to be, as on a GPU that is far behind."""

    class Event:
        def query(self) -> bool:
            return False

        def synchronize(self) -> None:
            pass

    def send(self, note: Any, values_P: torch.Tensor) -> None:
        event: Any = self.Event()
        self._under_way.append((note, HostCopy(values_P, event)))


CASES = [
    (place, VALUES[number % (2 if place == "target assignment" else 3)], (0, 4, NUM_STEPS - 1)[number % 3], number % 4)
    for number, place in enumerate(PLACES)
]
ALL_CASES = [
    (place, value, bad_step, kind)
    for place in PLACES
    for value in VALUES
    for bad_step in (0, 4, NUM_STEPS - 1)
    for kind in range(4)
    # The logarithm of an assignment may be -inf: it is that of 0.
    if not (place == "target assignment" and value == -math.inf)
]


@pytest.mark.fuzz
@pytest.mark.parametrize(("place", "value", "bad_step", "kind"), scaled(0, 1) * ALL_CASES or CASES)
def test_a_bad_number_changes_nothing_and_is_named(
    template: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    value: float,
    bad_step: int,
    kind: int,
) -> None:
    is_late, is_in_parts = kind % 2 == 1, kind >= 2
    if place.startswith("exp_avg"):
        bad_step = max(bad_step, 1)  # there are no moments before
    machine = dataclasses.replace(CPU, micro_batch=3 * is_in_parts, checkpoint_every=3 if is_late else 1)
    plan = plan_in(tmp_path, template, machine)
    before: dict[str, bytes] = {}
    with monkeypatch.context() as patch, watched(patch) as watch:
        poison(place, value, bad_step, watch, patch)
        if is_late:
            patch.setattr(recorder, "Meter", LateMeter)
        original = step.backward

        def remember(*args: Any, **kwargs: Any) -> Any:
            if watch.state.step == bad_step:
                before.update(bits(watch.state))
            return original(*args, **kwargs)

        patch.setattr(step, "backward", remember)
        with pytest.raises(GuardStop, match=f"at step {bad_step}; no weight was changed") as error:
            pretrain(plan)
        after = bits(watch.state)
        assert watch.state.step - 1 == bad_step or is_late

    # ---- in memory
    assert error.value.exit_code == 5
    assert [name for name in before if after[name] != before[name]] == []
    assert all(not any(after[name]) for name in after.keys() - before.keys())  # moments of a first step: zeros

    # ---- in the journal
    event = next(event for event in read_run(plan.folder).events if event["event"] == "guard")
    assert event["step"] == bad_step
    assert event["rows"] == batch_rows(plan, bad_step).tolist()
    assert {"loss", "cross_entropy", "memax", "grad_norm"} <= event.keys()
    assert event["what"] in error.value.what
    assert [record["step"] for record in list(iter_metrics(plan.folder))] == list(range(bad_step))

    # ---- on the disk
    saved = [int(path.name.removeprefix("step-")) for path in checkpoints_of(plan)]
    assert max(saved, default=0) == bad_step - bad_step % (machine.checkpoint_every or 1)
    for path in checkpoints_of(plan):
        tensors = load_file(path / "state.safetensors")
        is_poisoned = {f"optimizer.{place.split()[-1]}.{place.split()[0]}"}  # by this test, after the step was saved
        assert all_finite({name: value for name, value in tensors.items() if name not in is_poisoned})


def test_a_run_that_was_stopped_by_a_bad_number_goes_on_to_the_weights_of_a_good_one(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = plan_in(tmp_path / "good", template)
    pretrain(good)
    plan = plan_in(tmp_path / "bad", template)
    for bad_step in (0, 3, NUM_STEPS - 1):
        with monkeypatch.context() as patch, watched(patch) as watch:
            poison("target pixels", math.inf, bad_step, watch, patch)
            with pytest.raises(GuardStop):
                pretrain(plan)
    assert pretrain(plan).resumed_from == NUM_STEPS - 1
    assert weights_of(plan) == weights_of(good)


# ---- alarms of real runs: their curves are in test_health.py

COLLAPSING = (
    "objective.memax_weight=0", "objective.sinkhorn_iters=0", "objective.num_prototypes=64", "train.ema_start=0",
    "train.ema_final=0", "train.num_epochs=7",
)  # fmt: skip


def alarms(plan: RunPlan) -> list[dict[str, Any]]:
    return [event for event in read_run(plan.folder).events if event["event"] == "alarm"]


def test_a_run_without_me_max_and_sinkhorn_is_called_collapsed_within_50_steps(
    template: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = plan_in(tmp_path / "warn", template, overrides=COLLAPSING, ehr=())
    pretrain(warning)
    (alarm, *_) = alarms(warning)
    assert (alarm["kind"], alarm["step"] < 50) == ("collapse", True)
    assert f"alarm at step {alarm['step']}: collapse: " in capsys.readouterr().err
    stopping = plan_in(tmp_path / "stop", template, overrides=COLLAPSING, ehr=())
    with pytest.raises(GuardStop, match="collapse: ") as error:
        pretrain(with_machine(stopping, log_every=1000, on_alarm="stop"))
    assert (error.value.exit_code, error.value.hint) == (5, "to continue regardless: --machine on_alarm=warn")
    assert alarms(stopping)[0] | {"ts": 0} == alarm | {"ts": 0}
    assert read_run(stopping.folder).state == "failed"


def test_a_healthy_run_raises_no_alarm_and_tells_its_features_rank(template: Workspace, tmp_path: Path) -> None:
    healthy = ("train.num_epochs=7", "objective.num_prototypes=64")
    plan = plan_in(tmp_path, template, overrides=healthy)
    pretrain(with_machine(plan, on_alarm="stop", checkpoint_every=100, health_every=20))
    assert not alarms(plan)
    records = list(iter_metrics(plan.folder))
    assert [r["step"] for r in records if "feature_rank" in r] == [0, 20, plan.num_steps - 1]
    assert all(r["memory_mb"] > 50 and 0 <= r["data_frac"] <= 1 for r in records)


def test_what_a_run_takes_of_its_machine_is_logged_every_few_seconds(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "EVERY_S", 1e9)
    plan = plan_in(tmp_path, template)
    pretrain(plan)
    assert not any(USAGE & set(record) for record in iter_metrics(plan.folder))
    monkeypatch.setattr(usage, "EVERY_S", 0.0)
    plan = plan_in(tmp_path, template, overrides=("train.seed=1",))
    pretrain(plan)
    records = list(iter_metrics(plan.folder))
    assert all(record["rss_mb"] <= record["memory_mb"] for record in records)
    assert all(0 <= record["cpu_cores"] < 1000 for record in records)
    assert max(record["cpu_cores"] for record in records) > 0
    assert not any(name.startswith("gpu") for record in records for name in record)


# ---- everything that should learn, learns


@pytest.mark.parametrize(
    ("recipe", "ehr", "micro_batch"),
    [
        ("strict", (), 0),
        ("strict", ("sex", "age"), 0),
        ("strict", ("sex", "age"), 3),
        ("paper", (), 0),
        ("paper", ("sex", "view"), 3),
    ],
)
def test_a_step_moves_all_that_is_trained_and_the_target_by_its_share(
    template: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    ehr: tuple[str, ...],
    micro_batch: int,
) -> None:
    machine = dataclasses.replace(CPU, micro_batch=micro_batch)
    plan = plan_in(tmp_path, template, machine, ("model.backbone=vit-micro", "train.num_epochs=1"), ehr, recipe)
    states: list[dict[str, torch.Tensor]] = []
    targets: list[tuple[int, float, dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
    gradients: list[dict[str, torch.Tensor]] = []

    def tensors_of(state: TrainState) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in state.model.state_dict().items()}

    with watched(monkeypatch) as watch, monkeypatch.context() as patch:
        clip, move_target = step.clip_gradients, MSN.move_target

        def clipped(model: Objective, *args: Any) -> Any:
            if not states:
                states.append(tensors_of(watch.state))
            gradients.append({name: p.grad.clone() for name, p in model.trained_parameters() if p.grad is not None})
            return clip(model, *args)

        def moved(model: MSN, momentum: float, *args: Any) -> None:
            before = tensors_of(watch.state)
            move_target(model, momentum, *args)
            targets.append((watch.state.step, momentum, before, tensors_of(watch.state)))

        patch.setattr(step, "clip_gradients", clipped)
        patch.setattr(MSN, "move_target", moved)
        for number in range(1, plan.num_steps + 1):
            watch.at[number] = lambda: states.append(tensors_of(watch.state))
        pretrain(plan)
        trainable = {name for name, _ in watch.state.model.trained_parameters()}

    frozen = {name for name in states[0] if name.startswith("target_")} | {"prototypes"} - trainable
    assert ("prototypes" in trainable) == (recipe == "strict")
    assert trainable | frozen == states[0].keys()
    # A fusion that starts as the identity first learns what to make of the record, then how to embed it.
    waiting = {name for name in trainable if recipe == "strict" and name.startswith("fusion.embed")}
    for number, (before, after, gradient) in enumerate(zip(states, states[1:], gradients, strict=False)):
        assert gradient.keys() == trainable
        for name in trainable - (waiting if number == 0 else set()):
            assert torch.isfinite(gradient[name]).all(), name
            assert gradient[name].abs().max() > 0, name
            assert not torch.equal(before[name], after[name]), f"{name} did not move"
        if "prototypes" in frozen:
            assert torch.equal(before["prototypes"], after["prototypes"])

    # The published code moves the target before each step, of which the first finds target and anchor equal.
    is_early = recipe == "paper"
    assert [done for done, *_ in targets] == list(range(1 - is_early, plan.num_steps + 1 - is_early))
    for done, momentum, before, after in targets:
        now = settings_at(done - (not is_early), plan.num_steps, plan.steps_per_epoch, plan.recipe.train)
        assert momentum == now.ema_momentum < 1
        for name, old in before.items():
            new = after[name].double()
            if not name.startswith("target_"):
                assert torch.equal(new, old.double())
                continue
            distance = before[name.removeprefix("target_")].double() - old.double()
            rounding = 1e-6 * (old.double().abs() + distance.abs())
            assert ((new - old - (1 - momentum) * distance).abs() <= rounding + 1e-12).all(), name
