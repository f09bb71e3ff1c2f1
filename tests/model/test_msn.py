"""The objective against a slow numpy version written from the paper's equations."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cxrssl.model.msn import MSN, assign_prototypes, entropy, msn_loss, sharpen, sinkhorn
from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import MsnSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.train.schedule import StepSettings
from cxrssl.train.state import TrainState, init_state
from cxrssl.train.step import clip_gradients, set_schedule
from cxrssl.views.draw import make_views

NUM_VIEWS, NUM_FILMS, WIDTH, NUM_PROTOTYPES = 3, 8, 16, 12
Tensors = dict[str, torch.Tensor]


def slow_softmax_cosine(z: np.ndarray, q: np.ndarray, temp: float) -> np.ndarray:
    rows = []
    for vector in z:
        cosines = [float(vector @ p) / (np.linalg.norm(vector) * np.linalg.norm(p)) for p in q]
        powers = [math.exp(cosine / temp) for cosine in cosines]
        rows.append([power / sum(powers) for power in powers])
    return np.array(rows)


def slow_sharpen(p: np.ndarray, temp: float) -> np.ndarray:
    return np.array([[v ** (1 / temp) / sum(w ** (1 / temp) for w in row) for v in row] for row in p])


def slow_sinkhorn(p: np.ndarray, num_iters: int) -> np.ndarray:
    """Rows are films, columns prototypes: every prototype gets 1/K of the mass, then every film 1/B."""
    mass = p / p.sum()
    num_films, num_prototypes = p.shape
    for _ in range(num_iters):
        for k in range(num_prototypes):
            mass[:, k] /= mass[:, k].sum() * num_prototypes
        for b in range(num_films):
            mass[b] /= mass[b].sum() * num_films
    return np.asarray(mass * num_films)


def slow_loss(anchors: np.ndarray, targets: np.ndarray, q: np.ndarray, objective: MsnSettings) -> float:
    wanted = slow_sharpen(slow_softmax_cosine(targets, q, objective.anchor_temp), objective.target_temp)
    if objective.sinkhorn_iters:
        wanted = slow_sinkhorn(wanted, objective.sinkhorn_iters)
    terms, mean = [], np.zeros(len(q))
    for view in anchors:
        for film, probs in enumerate(slow_softmax_cosine(view, q, objective.anchor_temp)):
            terms.append(-sum(wanted[film, k] * math.log(probs[k]) for k in range(len(q))))
            mean += probs / (len(anchors) * len(view))
    memax = math.log(len(q)) + sum(m * math.log(m) for m in mean)
    return float(sum(terms) / len(terms) + objective.memax_weight * memax)


@pytest.mark.parametrize("sinkhorn_iters", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_loss_equals_the_slow_numpy_version(seed: int, sinkhorn_iters: int) -> None:
    rng = np.random.default_rng(seed)
    anchors = rng.normal(size=(NUM_VIEWS, NUM_FILMS, WIDTH))
    targets, prototypes = rng.normal(size=(NUM_FILMS, WIDTH)), rng.normal(size=(NUM_PROTOTYPES, WIDTH))
    objective = MsnSettings(num_prototypes=NUM_PROTOTYPES, sinkhorn_iters=sinkhorn_iters, memax_weight=0.7)
    a, t, q = (torch.tensor(array, dtype=torch.float32) for array in (anchors, targets, prototypes))
    fast = msn_loss(a, t, q, objective)
    slow = slow_loss(a.double().numpy(), t.double().numpy(), q.double().numpy(), objective)
    assert fast.total.item() == pytest.approx(slow, rel=1e-6)


def test_each_step_of_the_target_equals_its_slow_version() -> None:
    rng = np.random.default_rng(0)
    z, q = rng.normal(size=(NUM_FILMS, WIDTH)), rng.normal(size=(NUM_PROTOTYPES, WIDTH))
    probs = slow_softmax_cosine(z, q, 0.1)
    fast = assign_prototypes(torch.tensor(z), torch.tensor(q), 0.1).exp().double().numpy()
    np.testing.assert_allclose(fast, probs, atol=1e-6)
    log_probs = torch.tensor(probs).log()
    np.testing.assert_allclose(sharpen(log_probs, 0.25).exp().numpy(), slow_sharpen(probs, 0.25), atol=1e-12)
    np.testing.assert_allclose(sinkhorn(log_probs, 3).exp().numpy(), slow_sinkhorn(probs, 3), atol=1e-12)


def test_me_max_is_zero_for_a_uniform_mean_and_ln_k_for_one_prototype() -> None:
    assert math.log(4) - entropy(torch.full((4,), 0.25).log()).item() == pytest.approx(0.0, abs=1e-6)
    assert entropy(torch.tensor([0.0, -1e4, -1e4, -1e4])).item() == 0.0


def test_sinkhorn_over_a_small_batch_caps_the_targets_of_many_prototypes() -> None:
    """As published: each of 1,024 prototypes gets 1/1,024 of 64 films, so no target exceeds 64/1,024."""
    one_hot = torch.nn.functional.one_hot(torch.arange(64), 1024).double() + 1e-9
    spread = sinkhorn(one_hot.log(), 3).exp()
    assert spread.max().item() < 0.07
    assert entropy(spread.log()).mean().item() > 0.9 * math.log(1024)


def test_no_temperature_is_too_low_for_the_loss() -> None:
    """At 0.001 all but one assignment are below the smallest float32."""
    generator = torch.Generator().manual_seed(0)
    anchors, targets, prototypes = (
        torch.randn(shape, generator=generator).requires_grad_() for shape in ((3, 8, 16), (8, 16), (64, 16))
    )
    loss = msn_loss(anchors, targets, prototypes, MsnSettings(anchor_temp=0.001, target_temp=0.001)).total
    loss.backward()
    for value in (loss, anchors.grad, prototypes.grad):
        assert value is not None
        assert torch.isfinite(value).all()


def tiny_recipe(ehr: Sequence[str] = ("sex", "age"), start: str = "random", **objective: Any) -> Recipe:
    changes = {
        "model": {"backbone": "vit-micro", "patch_px": 8},
        "ehr": {"features": list(ehr), **({"start": start} if ehr else {})},
        "views": {"global_px": 32, "focal_px": 16, "num_focal": 2},
        "objective": {"num_prototypes": 16, **objective},
        "train": {"batch_size": 8},
    }
    return load_recipe("strict", [], changes)


def one_step(
    recipe: Recipe, num_columns: int, momentum: float = 0.9
) -> tuple[TrainState, Tensors, Tensors, dict[str, torch.Tensor | None]]:
    state = init_state(recipe, RecordColumns(num_columns), torch.device("cpu"))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    films = torch.randint(0, 256, (8, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 8)
    views = make_views(films, valid, state.model.view_plan, 0, 0)
    ehr = torch.rand(8, num_columns, generator=torch.Generator().manual_seed(1)) if num_columns else None
    state.model(views, Record(ehr)).total.backward()
    gradients = {name: value.grad for name, value in state.model.named_parameters()}
    clip_gradients(state.model, recipe.train.clip_norm)
    set_schedule(state.optimizer, StepSettings(1e-3, 0.1, momentum, 0.0))
    state.optimizer.step()
    anchor = {name: value.clone() for name, value in state.model.state_dict().items()}
    assert isinstance(state.model, MSN)
    state.model.move_target(momentum)
    return state, before, anchor, gradients


def test_after_one_step_everything_trainable_has_moved_and_nothing_frozen_has() -> None:
    state, before, anchor, gradients = one_step(tiny_recipe(), num_columns=5)
    trainable = {name for name, _ in state.model.trained_parameters()}
    assert {
        "prototypes",
        "fusion.embed.weight",
        "fusion.fuse.weight",
        "encoder.pos_embed",
        "head.0.weight",
    } <= trainable
    for name in trainable:
        gradient = gradients[name]
        assert gradient is not None, f"{name} has no gradient"
        assert torch.isfinite(gradient).all(), name
        assert not torch.equal(anchor[name], before[name]), f"{name} did not move"
    for name in set(before) - trainable:
        assert torch.equal(anchor[name], before[name]), f"{name} is frozen, but the optimiser moved it"


def test_the_target_moves_by_exactly_one_minus_momentum_of_the_distance() -> None:
    state, before, anchor, _ = one_step(tiny_recipe(), num_columns=5, momentum=0.75)
    after = state.model.state_dict()
    for name in (name for name in before if name.startswith("target_")):
        online = anchor[name.removeprefix("target_")]
        torch.testing.assert_close(after[name], before[name] + 0.25 * (online - before[name]), rtol=1e-6, atol=1e-8)


def test_prototypes_stay_where_they_are_when_the_recipe_freezes_them() -> None:
    state, before, anchor, gradients = one_step(tiny_recipe(train_prototypes=False), num_columns=5)
    assert "prototypes" not in {name for name, _ in state.model.trained_parameters()}
    assert gradients["prototypes"] is None
    assert torch.equal(anchor["prototypes"], before["prototypes"])


def test_with_and_without_the_record_the_same_seed_starts_from_the_same_encoder_head_and_prototypes() -> None:
    vanilla = init_state(tiny_recipe(ehr=()), RecordColumns(), torch.device("cpu")).model.state_dict()
    fused = init_state(tiny_recipe(), RecordColumns(5), torch.device("cpu")).model.state_dict()
    assert set(fused) - set(vanilla) == {
        f"fusion.{part}.{kind}" for part in ("embed", "fuse") for kind in ("weight", "bias")
    }
    for name, value in vanilla.items():
        assert torch.equal(value, fused[name]), name


def test_no_gradient_flows_into_targets_and_the_record_changes_only_the_anchors() -> None:
    recipe = tiny_recipe()
    model = MSN(recipe, RecordColumns(5))
    films = torch.randint(0, 256, (8, 40, 40), dtype=torch.uint8)
    valid = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 8)
    views = make_views(films, valid, model.view_plan, 0, 0)
    # A record that is the same for all films is a shift, which the head's batch norm removes.
    without, with_record = (model(views, Record(e)) for e in (torch.zeros(8, 5), torch.rand(8, 5)))
    assert without.numbers["target_entropy"] == with_record.numbers["target_entropy"]
    assert without.numbers["cross_entropy"] != with_record.numbers["cross_entropy"]
    with_record.total.backward()
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith("target_"))


def test_paper_backbone_has_the_published_head_count_and_parameter_number() -> None:
    model = MSN(load_recipe("paper", [], {"ehr": {"features": ["sex"], "missing": "zero"}}), RecordColumns(2))
    first: Any = model.encoder.blocks[0]
    assert first.attn.num_heads == 6
    backbone = sum(p.numel() for p in model.encoder.parameters())
    head = sum(p.numel() for p in model.head.parameters())
    # The published log: backbone 5.7 M with three input channels and a 1000-way head; here one channel and no head.
    assert 5.3e6 < backbone < 5.7e6
    assert head == pytest.approx(888e3, rel=0.01)
