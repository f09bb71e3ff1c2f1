"""Everything that a step changes, and its flat form for a checkpoint.

State = {step, weights (all that the objective registers), AdamW moments}. Schedules and draws are functions of
the step, so no generator and no loader state is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cxrssl.core.errors import IntegrityError
from cxrssl.core.seed import derive_seed
from cxrssl.model.build import build_objective
from cxrssl.model.narrow import NarrowWeights
from cxrssl.model.objective import Objective
from cxrssl.model.record import RecordColumns
from cxrssl.recipe.settings import Recipe

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class TrainState:
    step: int
    """Steps done so far."""
    model: Objective
    optimizer: torch.optim.AdamW
    narrow: NarrowWeights | None = None
    """Where the encoders' products are narrower than the weights; of no checkpoint, as each step makes it anew."""


def init_state(recipe: Recipe, columns: RecordColumns, device: torch.device) -> TrainState:
    """Return the state before the first step: weights drawn from the recipe's seed, whatever was drawn before."""
    # On the CPU, whatever the device: the same seed gives the same weights everywhere.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.train.seed, 0, "weights"))
        model = build_objective(recipe, columns)
    model.to(device)
    return TrainState(0, model, build_optimizer(model, recipe))


def build_optimizer(model: Objective, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters, in groups that share decay and learning rate.

    Matrices decay, but for those that the objective calls `undecayed`; norms and biases do not.
    """
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.trained_parameters():
        # Decay pulls towards zero, which means "no effect" for a matrix and nothing sensible for a scale or a token.
        is_matrix = parameter.ndim > 1 and not name.endswith(model.undecayed)
        mults = [mult for start, mult in model.lr_mults().items() if name.startswith(start)]
        key = (mults[0] if mults else 1.0, is_matrix or recipe.train.decay_all)
        groups.setdefault(key, []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: item[0], reverse=True)
    named = [{"params": params, "is_decayed": decays, "lr_mult": mult} for (mult, decays), params in ordered]
    # Fused, because this kernel alone can pass over a step on the device's own word (`found_inf`).
    return torch.optim.AdamW(named, lr=0.0, fused=True)


def state_bytes(state: TrainState) -> int:
    """Return the size of the state's checkpoint, a little more rather than less; AdamW's moments may be yet to come."""
    values = [*state.model.state_dict().values(), *(p for _, p in state.model.trained_parameters() for _ in "mv")]
    name_bytes = 128
    return sum(value.numel() * value.element_size() + 2 * name_bytes for value in values)


def flatten_state(state: TrainState) -> dict[str, Tensor]:
    """Return all tensors of the state by name, on the CPU."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    for name, parameter in state.model.trained_parameters():
        # Before the first step there are none; a moment is stored under its parameter's name, not its place in a list.
        for moment in MOMENTS:
            if moment in (moments := state.optimizer.state.get(parameter, {})):
                tensors[f"optimizer.{name}.{moment}"] = moments[moment]
    tensors["step"] = torch.tensor(state.step)
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def restore_state(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Fill `state` with the tensors of a checkpoint of the same recipe.

    Raises: IntegrityError when a name or a shape does not fit.
    """
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    expected = state.model.state_dict()
    # Checked before anything is copied: a checkpoint fits whole or not at all.
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in expected.items()}:
        raise IntegrityError("the checkpoint's weights do not fit the recipe's model")
    state.model.load_state_dict(weights)
    for name, parameter in state.model.trained_parameters():
        found = {moment: tensors.get(f"optimizer.{name}.{moment}") for moment in MOMENTS}
        moments = {moment: value for moment, value in found.items() if value is not None}
        if moments:
            state.optimizer.state[parameter] = {
                key: value.clone().to(parameter.device) for key, value in moments.items()
            }
    state.step = int(tensors["step"])
