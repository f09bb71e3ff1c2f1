"""Each switch of `paper.toml`: the published behaviour is there, and in `strict` it is gone.

Source: Shurrab et al. 2024 and its released code. One function a key measures what the key decides; it is given a
recipe and returns what the recipe does.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers.attention import Attention

from cxrssl.cohort.encoding import feature_columns
from cxrssl.core.workspace import Workspace
from cxrssl.model.msn import MSN
from cxrssl.model.record import Record, RecordColumns
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import Recipe
from cxrssl.train.guard import Guard
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.record import load_record
from cxrssl.train.schedule import StepSettings, settings_at
from cxrssl.train.state import TrainState, init_state
from cxrssl.train.step import Batch, clip_gradients, take_step
from cxrssl.views.draw import Views, make_views
from cxrssl.views.masks import draw_kept
from tests.world import make_workspace

FILMS, GIVEN = 8, torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
SMALL: dict[str, dict[str, Any]] = {
    "model": {"patch_px": 8},
    "ehr": {"features": ["sex"]},
    "views": {"global_px": 32, "focal_px": 16, "num_focal": 2},
    "train": {"batch_size": FILMS},
}
STEPS, EPOCH = 1000, 10


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=12, px=32)


def small(name: str, **model: Any) -> Recipe:
    backbone = {} if model.get("backbone") is None else {"backbone": model["backbone"]}
    return load_recipe(name, [], {**SMALL, "model": {**SMALL["model"], **backbone}})


def state_of(recipe: Recipe) -> TrainState:
    return init_state(recipe, RecordColumns(GIVEN.shape[1]), torch.device("cpu"))


def model_of(recipe: Recipe) -> MSN:
    model = state_of(recipe).model
    assert isinstance(model, MSN)
    return model


def views_of(recipe: Recipe, model: MSN, step: int = 0) -> Views:
    films = torch.randint(0, 256, (FILMS, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(step))
    return make_views(films, torch.tensor([[0.0, 0.0, 40.0, 40.0]] * FILMS), model.view_plan, recipe.train.seed, step)


def train(recipe: Recipe, num_steps: int) -> tuple[TrainState, TrainState]:
    """Return the state before and after some steps."""
    before, after = state_of(recipe), state_of(recipe)
    guard = Guard(after.optimizer, torch.device("cpu"))
    assert isinstance(after.model, MSN)
    for step in range(num_steps):
        views = views_of(recipe, after.model, step)
        now = StepSettings(lr=1e-3, weight_decay=0.01, ema_momentum=0.9, progress=step / num_steps)
        batch = Batch(lambda part, views=views: views, Record(GIVEN), [slice(0, FILMS)])  # type: ignore[misc]
        take_step(after, batch, now, guard, recipe.train)
    return before, after


def schedule_of(recipe: Recipe) -> list[StepSettings]:
    return [settings_at(step, STEPS, EPOCH, recipe.train) for step in range(STEPS)]


# ---- what each key decides


def missing(recipe: Recipe) -> bool:
    """Whether the model is told what is unknown."""
    return any("unknown" in column for column in feature_columns(recipe.ehr.features, recipe.ehr.missing))  # type: ignore[arg-type]


def start(recipe: Recipe) -> bool:
    """Whether an anchor resembles its own target before the first step."""
    model, seen = model_of(recipe).eval(), torch.randn(FILMS, 96)
    assert model.fusion is not None
    with torch.no_grad():
        return torch.equal(model.fusion(seen, GIVEN), seen)


def heads(recipe: Recipe) -> int:
    encoder = build_encoder(recipe.model.backbone, 16, 32)
    heads = [module.num_heads for module in encoder.modules() if isinstance(module, Attention)]
    assert len(set(heads)) == 1
    return heads[0]


def grey(recipe: Recipe) -> tuple[float, float]:
    """Where black and white come to lie."""
    model = model_of(recipe)
    films = torch.zeros(2, 40, 40, dtype=torch.uint8)
    films[1] = 255
    views = make_views(films, torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 2), model.view_plan, 0, 0)
    return tuple(round(float(value), 3) for value in views["target"].pixels_BV1PP[:, 0, 0, 0, 0])  # type: ignore[return-value]


def prototypes_moved(recipe: Recipe) -> bool:
    before, after = train(recipe, 50)
    assert isinstance(before.model, MSN)
    assert isinstance(after.model, MSN)
    return not torch.equal(before.model.prototypes, after.model.prototypes)


def num_prototypes(recipe: Recipe) -> int:
    return len(model_of(recipe).prototypes)


def focal_patches(recipe: Recipe) -> int:
    """Patches of a focal view that the encoder sees, of four."""
    model = model_of(recipe)
    kept = views_of(recipe, model)["focal"].kept_BVK
    return 4 if kept is None else kept.shape[2]


def last_patch(recipe: Recipe) -> bool:
    """Whether the bottom-right patch is ever kept, in 2,000 views of 196 patches."""
    mask = next(kind.mask for kind in model_of(recipe).view_plan.kinds if kind.purpose == "random")
    assert mask is not None
    return bool((draw_kept(2000, 1, 196, mask, 0) == 195).any())


def first_decay(recipe: Recipe) -> float:
    return round(schedule_of(recipe)[0].weight_decay, 4)


def last_decay(recipe: Recipe) -> float:
    return round(schedule_of(recipe)[-1].weight_decay, 3)


def decays_all(recipe: Recipe) -> bool:
    groups = state_of(recipe).optimizer.param_groups
    return all(group["is_decayed"] for group in groups)


def clipped(recipe: Recipe) -> float:
    """Length of a gradient of length 100 when the optimiser gets it."""
    model = model_of(recipe)
    parameters = [parameter for _, parameter in model.trained_parameters()]
    length = math.sqrt(sum(parameter.numel() for parameter in parameters))
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 100 / length)
    clip_gradients(model, recipe.train.clip_norm)
    return round(math.sqrt(sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None)), 1)


def rate_within_an_epoch(recipe: Recipe) -> bool:
    """Whether the rate changes within an epoch, after any warm-up."""
    rates = [now.lr for now in schedule_of(recipe)[500 : 500 + EPOCH]]
    return len(set(rates)) > 1


def rises(recipe: Recipe) -> bool:
    rates = [now.lr for now in schedule_of(recipe)]
    return rates[EPOCH] > rates[0]


def final_rate(recipe: Recipe) -> float:
    end = recipe.train.lr_final_frac * recipe.train.lr
    assert settings_at(STEPS, STEPS, 1, recipe.train).lr == pytest.approx(end, abs=1e-12)
    return end


def peak_rate(recipe: Recipe) -> float:
    return round(max(now.lr for now in schedule_of(recipe)), 6)


def momentum_at(step: int) -> Callable[[Recipe], float]:
    return lambda recipe: round(settings_at(step, STEPS, EPOCH, recipe.train).ema_momentum, 4)


def momentum_of_a_short_run(recipe: Recipe) -> float:
    return round(settings_at(0, 200, EPOCH, recipe.train).ema_momentum, 4)


def target_moves_first(recipe: Recipe) -> bool:
    """Whether the target equals the anchor of the step before, after one step."""
    before, after = train(recipe, 1)
    weights = before.model.state_dict(), after.model.state_dict()
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] if name.startswith("target_"))


SWITCHES: dict[str, tuple[Callable[[Recipe], Any], Any, Any]] = {
    "ehr.missing": (missing, False, True),
    "ehr.start": (start, False, True),
    "views.pixel_mean": (grey, (-1.784, 2.122), (-1.562, 1.746)),
    "views.pixel_std": (grey, (-1.784, 2.122), (-1.562, 1.746)),
    "objective.num_prototypes": (num_prototypes, 1024, 64),
    "objective.train_prototypes": (prototypes_moved, False, True),
    "objective.mask_focal": (focal_patches, 2, 4),
    "objective.hide_last_patch": (last_patch, False, True),
    "train.num_epochs": (lambda recipe: recipe.train.num_epochs, 100, 100),
    "train.lr": (peak_rate, 1e-4, 1e-3),
    "train.lr_final_frac": (final_rate, 0.0, None),
    "train.warmup_frac": (rises, False, True),
    "train.lr_per_epoch": (rate_within_an_epoch, False, True),
    "train.weight_decay_start": (first_decay, 1e-3, 0.04),
    "train.weight_decay_final": (last_decay, 1e-3, 0.4),
    "train.decay_all": (decays_all, True, False),
    "train.clip_norm": (clipped, 100.0, None),
    "train.ema_start": (momentum_at(0), 0.996, 0.99),
    "train.ema_final": (momentum_at(STEPS), 0.996, 1.0),
    "train.ema_horizon": (momentum_of_a_short_run, 0.996, 0.95),
    "train.ema_first": (target_moves_first, True, False),
}
"""By key: what measures it, what the paper's recipe gives, what strict gives; None for the paper's value alone."""
ELSEWHERE = {"model.backbone", "train.rows"}
"""Held by the two tests below."""


@pytest.mark.parametrize("key", SWITCHES)
def test_a_published_switch_is_in_the_papers_recipe_and_not_in_strict(key: str) -> None:
    measure, published, mended = SWITCHES[key]
    assert measure(small("paper", backbone="vit-micro")) == published
    if mended is not None:
        assert measure(small("strict", backbone="vit-micro")) == mended
    else:
        assert measure(small("strict", backbone="vit-micro")) != published


def test_the_published_backbone_has_heads_of_another_number() -> None:
    assert (heads(load_recipe("paper")), heads(load_recipe("strict"))) == (6, 3)


def test_the_published_run_sees_test_films_and_strict_does_not(workspace: Workspace) -> None:
    def plan(name: str) -> RunPlan:
        changes = ["model.backbone=vit-micro", "train.batch_size=2"]
        return plan_run(workspace, "nih", load_recipe(name, changes, {"ehr": {"features": ["sex"]}}), Machine("cpu", 1))

    paper, strict = plan("paper"), plan("strict")
    splits = [set(plan.cohort.split_of(plan.scheme)[plan.rows]) for plan in (paper, strict)]
    assert "test" in splits[0]
    assert splits[1] == {"train"}
    assert not np.isnan(load_record(paper).given_NM).any()


def test_every_switch_of_the_papers_recipe_has_a_test() -> None:
    tables = tomllib.loads((resources.files("cxrssl.recipe") / "paper.toml").read_text())
    keys = {f"{section}.{key}" for section, values in tables.items() for key in values}
    assert keys == SWITCHES.keys() | ELSEWHERE
