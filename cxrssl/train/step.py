"""The gradient of one step, whatever share of its films is encoded at a time, and by how many processes.

In: the films of this process, the whole batch's boxes and health record. Out: gradients as if one process had held all.
Only the encoder works film by film; fusion, head and loss see the whole batch. So class tokens are encoded in parts,
the loss and its gradient with respect to them are taken once over all, and each part is encoded again to carry its own
share back. Source: Gao et al. 2021 (GradCache), applied here to parts and to processes alike.
Shape letters: V anchor views, B films of the whole batch, P films of a part, D embedding width, M EHR columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from cxrssl.model.msn import MSN, LossParts
from cxrssl.views import Views

PartViews = Callable[[slice], Views]


def split_batch(num_films: int, rank: int, world_size: int, micro_batch: int) -> list[slice]:
    """Return the parts of a batch that a process encodes one after the other; `micro_batch` 0 takes its share at once.

    Every process has the same number of films.
    """
    share = num_films // world_size
    assert share * world_size == num_films, "the batch is shared evenly"
    size = micro_batch or share
    first = rank * share
    return [slice(at, min(at + size, first + share)) for at in range(first, first + share, size)]


def backward(
    model: MSN,
    views_of: PartViews,
    ehr_BM: Tensor | None,
    parts: Sequence[slice],
    precision: torch.dtype = torch.float32,
    group: ProcessGroup | None = None,
) -> LossParts:
    """Add the gradient of the whole batch to the model's and return the loss, the same in every process."""

    def autocast() -> torch.autocast:
        return torch.autocast(model.prototypes.device.type, precision, enabled=precision != torch.float32)

    # ---- class tokens of all parts; one part alone keeps its graph
    keeps_graph = len(parts) == 1
    anchors: list[Tensor] = []
    targets: list[Tensor] = []
    for part in parts:
        views = views_of(part)
        with autocast():
            with torch.set_grad_enabled(keeps_graph):
                anchors.append(model.encode_anchors(views))
            targets.append(model.encode_targets(views))
    target_BD = _gather(torch.cat(targets), 0, group)
    if keeps_graph and group is None:
        with autocast():
            losses = model.compare(anchors[0], target_BD, ehr_BM)
        torch.autograd.backward(losses.total)
        return losses

    # ---- loss of the whole batch, and its gradient at the class tokens
    cxr_VBD = _gather(torch.cat([tokens.detach() for tokens in anchors], dim=1), 1, group).requires_grad_()
    with autocast():
        losses = model.compare(cxr_VBD, target_BD, ehr_BM)
    torch.autograd.backward(losses.total)
    assert cxr_VBD.grad is not None, "the loss depends on the class tokens"

    # ---- each part carries its share back into the encoder
    for number, part in enumerate(parts):
        if keeps_graph:
            tokens = anchors[number]
        else:
            with autocast():
                tokens = model.encode_anchors(views_of(part))
        torch.autograd.backward(tokens, cxr_VBD.grad[:, part])
    if group is not None:
        _sum_gradients(list(model.encoder.parameters()), group)
    return losses


def _gather(mine: Tensor, axis: int, group: ProcessGroup | None) -> Tensor:
    """Return the tensors of all processes, joined along `axis` in the order of their ranks."""
    if group is None:
        return mine
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, mine.contiguous(), group=group)
    return torch.cat(everyone, dim=axis)


def _sum_gradients(parameters: Sequence[Tensor], group: ProcessGroup) -> None:
    """Add up the gradients of all processes, in one message."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat, group=group)
    sums = torch.split(flat, [grad.numel() for grad in grads])
    for grad, total in zip(grads, sums, strict=True):
        grad.copy_(total.view_as(grad))
