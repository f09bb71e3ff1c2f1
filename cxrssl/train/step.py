"""One step: views, forward, backward, guard, optimiser, target, whatever share of its films is encoded at a time, and
by how many processes.

In: the films of this process, the whole batch's health record. Out: weights as if one process had held all.
Encoders work film by film; the rest of an objective sees the whole batch. So films are encoded in parts, the loss and
its gradient with respect to what they gave are taken once over all, and each part is encoded again to carry its own
share back. Source: Gao et al. 2021 (GradCache), applied here to parts and to processes alike.
Shape letters: B films of the whole batch, P numbers of a step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from cxrssl.model.narrow import NarrowWeights
from cxrssl.model.objective import Loss, Objective, Tensors
from cxrssl.model.record import Record
from cxrssl.recipe.settings import TrainSettings
from cxrssl.train.guard import Guard
from cxrssl.train.schedule import StepSettings
from cxrssl.train.state import TrainState
from cxrssl.views.draw import Views

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
PartViews = Callable[[slice], Views]


@dataclass(frozen=True)
class Batch:
    """What a step is made of."""

    views_of: PartViews
    """Makes the views of a part of the batch; it is asked twice for each of several parts."""
    record: Record
    """The health record of the whole batch."""
    parts: Sequence[slice]
    """The films of this process, as slices of the batch that are encoded one after the other."""


def split_batch(num_films: int, rank: int, world_size: int, micro_batch: int) -> list[slice]:
    """Return the parts of a batch that a process encodes one after the other; `micro_batch` 0 takes its share at once.

    Every process has the same number of films.
    """
    share = num_films // world_size
    assert share * world_size == num_films, "the batch is shared evenly"
    size = micro_batch or share
    first = rank * share
    return [slice(at, min(at + size, first + share)) for at in range(first, first + share, size)]


def take_step(
    state: TrainState,
    batch: Batch,
    now: StepSettings,
    guard: Guard,
    train: TrainSettings,
    group: ProcessGroup | None = None,
) -> tuple[Loss, Tensor]:
    """Take one step and return its loss and its numbers: those of `number_names`, in one vector on the device.

    From the first number on that is not finite, `guard` keeps weights, moments, target and queue as they were.
    """
    # Where the recipe moves the target first, as the published code does; else nothing.
    state.model.begin_step(now.ema_momentum, guard.is_bad, now.progress)
    precision = PRECISIONS[train.precision]
    if state.narrow is None and precision != torch.float32:
        state.narrow = NarrowWeights(state.model, precision)
    loss = backward(state.model, batch, precision, group, state.narrow)
    numbers_P = join_numbers(state.model, loss, clip_gradients(state.model, train.clip_norm))
    # The guard judges before the optimiser acts; its verdict stays on the device, where optimiser and target read it.
    guard.check(numbers_P)
    set_schedule(state.optimizer, now)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.model.end_step(loss, now.ema_momentum, guard.is_bad)
    return loss, numbers_P


def number_names(model: Objective) -> tuple[str, ...]:
    """Return the names of a step's numbers, in the order of the journal."""
    return ("loss", *(number.name for number in model.numbers), "grad_norm")


def join_numbers(model: Objective, loss: Loss, grad_norm: Tensor) -> Tensor:
    """Return the values of `number_names` in one vector on the device."""
    values = {"loss": loss.total.detach(), **loss.numbers, "grad_norm": grad_norm}
    return torch.stack([values[name].float() for name in number_names(model)])


def clip_gradients(model: Objective, clip_norm: float) -> Tensor:
    """Scale the gradients down to a norm of `clip_norm`, 0 leaves them, and return the norm that they had."""
    parameters = [parameter for _, parameter in model.trained_parameters()]
    return torch.nn.utils.clip_grad_norm_(parameters, clip_norm if clip_norm > 0 else math.inf, foreach=True)


def set_schedule(optimizer: torch.optim.Optimizer, now: StepSettings) -> None:
    """Give the optimiser its learning rate and weight decay of this step."""
    for group in optimizer.param_groups:
        group["lr"] = now.lr * group["lr_mult"]
        group["weight_decay"] = now.weight_decay if group["is_decayed"] else 0.0


def backward(
    model: Objective,
    batch: Batch,
    precision: torch.dtype = torch.float32,
    group: ProcessGroup | None = None,
    narrow: NarrowWeights | None = None,
) -> Loss:
    """Add the gradient of the whole batch to the model's and return the loss, the same in every process.

    Encoders compute with `narrow` weights where there are some.
    """
    with narrow.lent() if narrow is not None else contextlib.nullcontext():
        loss = _carry_back(model, batch, precision, group)
    if group is not None:
        _share_gradients(model, group)
    return loss


def _carry_back(model: Objective, batch: Batch, precision: torch.dtype, group: ProcessGroup | None) -> Loss:
    """Add the gradient of this process's films to the model's, and return the loss of the whole batch."""

    def autocast() -> contextlib.AbstractContextManager[object]:
        return torch.autocast(model.device.type, precision, enabled=precision != torch.float32)

    # ---- all parts encoded; one part alone keeps its graph
    # Several parts would hold all their activations at once, which is what parts are there to avoid.
    keeps_graph = len(batch.parts) == 1
    encoded: list[Tensors] = []
    targets: list[Tensors] = []
    for part in batch.parts:
        views = batch.views_of(part)
        with autocast():
            with torch.set_grad_enabled(keeps_graph):
                encoded.append(model.encode(views))
            targets.append(model.encode_targets(views))
    whole_targets = _join(targets, group)
    if keeps_graph and group is None:
        with autocast():
            loss = model.compare(encoded[0], whole_targets, batch.record)
        torch.autograd.backward(loss.total)
        return loss

    # ---- loss of the whole batch, and its gradient at what was encoded
    # Each process computes the same loss from the same films, so head and prototypes get equal gradients everywhere.
    leaves = tuple(leaf.requires_grad_() for leaf in _join(encoded, group))
    with autocast():
        loss = model.compare(leaves, whole_targets, batch.record)
    torch.autograd.backward(loss.total)

    # ---- each part carries its share back into the encoder
    for number, part in enumerate(batch.parts):
        if keeps_graph:
            mine = encoded[number]
        else:
            with autocast():
                mine = model.encode(batch.views_of(part))
        used = [(tensor, leaf.grad[part]) for tensor, leaf in zip(mine, leaves, strict=True) if leaf.grad is not None]
        torch.autograd.backward([tensor for tensor, _ in used], [grad for _, grad in used])
    return loss


def _join(parts: Sequence[Tensors], group: ProcessGroup | None) -> Tensors:
    """Return each tensor of all parts and processes as one, films in the order of the batch, without a graph."""
    return tuple(_gather(torch.cat([tensor.detach() for tensor in same]), group) for same in zip(*parts, strict=True))


def _gather(mine: Tensor, group: ProcessGroup | None) -> Tensor:
    """Return the tensors of all processes, joined in the order of their ranks."""
    if group is None:
        return mine
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, mine.contiguous(), group=group)
    return torch.cat(everyone)


def _share_gradients(model: Objective, group: ProcessGroup) -> None:
    """Give every process the same gradients, in one message, as its cost is mostly in the number of messages.

    Of the encoder each process has carried back its own films' share: these add up. Of the rest each has taken the
    whole gradient, from the same films: their mean keeps processes together whose kernels round differently.
    """
    by_film = {id(parameter) for parameter in model.film_parameters()}
    trained = [parameter for _, parameter in model.trained_parameters() if parameter.grad is not None]
    grads = [cast(Tensor, parameter.grad) for parameter in trained]
    shares = [1.0 if id(parameter) in by_film else 1 / dist.get_world_size(group) for parameter in trained]
    flat = torch.cat([(grad * share).flatten() for grad, share in zip(grads, shares, strict=True)])
    dist.all_reduce(flat, group=group)
    sums = torch.split(flat, [grad.numel() for grad in grads])
    for grad, total in zip(grads, sums, strict=True):
        grad.copy_(total.view_as(grad))
