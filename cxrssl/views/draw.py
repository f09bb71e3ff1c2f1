"""Packed films -> the views of one step.

In: uint8 films [B, S, S] with their valid boxes. Out: float views, normalised, and the patches that each keeps.
Every draw is a function of (seed, step, purpose), made on the CPU so that all devices see the same, and sent at once.
Never: a wait for the device.

Shape letters: B films, V views of a kind, S side of a packed film, P side of a view, K kept patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cxrssl.core.seed import derive_seed
from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import Boxes, draw_boxes, longest_side
from cxrssl.views.masks import draw_kept
from cxrssl.views.plan import ViewKind, ViewPlan
from cxrssl.views.resample import cut_views

ALL_FILMS = slice(None)
CPU_GROUP = 8


@dataclass(frozen=True)
class View:
    """The views of one purpose."""

    pixels_BV1PP: Tensor
    kept_BVK: Tensor | None
    """Indices of the patches that each view keeps, ascending; None keeps all."""
    drawn_BN: Tensor | None = None
    """Uniform numbers of each film, where the objective draws with some."""


Views = Mapping[str, View]
"""The views of a batch by purpose."""


def cut_kinds(
    films_BSS: Tensor, valid_B4: Tensor, kinds: Sequence[ViewKind], boxes_of: Sequence[Tensor], views: ViewSettings
) -> list[Tensor]:
    """Return the views of each kind, [B, V, 1, P, P]; kinds of one size and scale are cut at once."""
    # Target and random views are alike and cut together: fewer and larger sums.
    alike: dict[tuple[int, tuple[float, float]], list[Tensor]] = {}
    for kind, boxes in zip(kinds, boxes_of, strict=True):
        alike.setdefault((kind.px, kind.scale), []).append(boxes)
    cuts: list[list[Tensor]] = [[] for _ in alike]
    for group in _cache_sized(films_BSS):
        pixels = films_BSS[group].mT.contiguous().float().mT  # by columns, as cut_views reads them
        for pieces, ((px, scale), stacks) in zip(cuts, alike.items(), strict=True):
            together = Boxes(*torch.cat(stacks, dim=2)).of(group)
            longest_px = longest_side(scale, films_BSS.shape[-1])
            pieces.append(cut_views(pixels, valid_B4[group], together, px, views, longest_px))
    found: list[Tensor] = []
    for pieces, stacks in zip(cuts, alike.values(), strict=True):
        found += torch.split(torch.cat(pieces), [stack.shape[2] for stack in stacks], dim=1)
    return found


CutKinds = Callable[[Tensor, Tensor, Sequence[ViewKind], Sequence[Tensor], ViewSettings], list[Tensor]]


@torch.no_grad()
def make_views(
    films_BSS: Tensor,
    valid_B4: Tensor,
    plan: ViewPlan,
    seed: int,
    step: int,
    part: slice = ALL_FILMS,
    cut: CutKinds = cut_kinds,
) -> Views:
    """Return the views of step `step`, or of the `part` of its films that is at hand; they are the same in both.

    Shapes: films of the part uint8 [B, S, S]; valid boxes of the whole batch [*, 4] as (top, left, height, width) in
    pixels, on the CPU.
    Source: Shurrab et al. 2024, section 1.1; Assran et al. 2022, section 3.
    """
    assert len(valid_B4[part]) == len(films_BSS), "the films are those of the part"
    kinds = [kind for kind in plan.kinds if kind.num_views]

    # ---- draws, for the whole batch
    # All films are drawn for and a part is taken: a film's views do not depend on how the batch is shared out.
    drawn = [valid_B4[part]]
    for kind in kinds:
        boxes = place_views(valid_B4, kind, plan, seed, step)
        drawn += [torch.stack(boxes.of(part)), _draw_kept(kind, len(valid_B4), plan.patch_px, seed, step)[part]]
        drawn.append(_draw_numbers(kind, len(valid_B4), seed, step)[part])

    # ---- views, for the part, where its films lie
    here_B4, *sent = _send(drawn, films_BSS.device)
    pixels = cut(films_BSS, here_B4, kinds, sent[::3], plan.settings)
    return {
        kind.purpose: View(pixels_BV1PP, kept.long() if kind.mask else None, drawn if kind.num_draws else None)
        for kind, pixels_BV1PP, kept, drawn in zip(kinds, pixels, sent[1::3], sent[2::3], strict=True)
    }


def place_views(valid_B4: Tensor, kind: ViewKind, plan: ViewPlan, seed: int, step: int) -> Boxes:
    """Return where the views of a kind lie in the films of step `step`, and how they are changed."""
    box_seed = derive_seed(seed, step, f"views/{kind.purpose}")
    return draw_boxes(valid_B4, kind.num_views, kind.scale, plan.settings, box_seed)


def _draw_kept(kind: ViewKind, num_films: int, patch_px: int, seed: int, step: int) -> Tensor:
    """Return the kept patches of a kind, [B, V, K]; of a kind without mask an empty tensor."""
    if kind.mask is None:
        return torch.empty(num_films, 0)
    mask_seed = derive_seed(seed, step, f"mask/{kind.purpose}")
    return draw_kept(num_films, kind.num_views, (kind.px // patch_px) ** 2, kind.mask, mask_seed)


def _draw_numbers(kind: ViewKind, num_films: int, seed: int, step: int) -> Tensor:
    """Return uniform numbers for the objective, [B, N]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, step, f"draws/{kind.purpose}"))
    return torch.rand(num_films, kind.num_draws, generator=generator)


def _cache_sized(films_BSS: Tensor) -> list[slice]:
    """Return the films in groups whose views are cut in a CPU's cache, twice as fast; on a GPU all at once."""
    step = CPU_GROUP if films_BSS.device.type == "cpu" else len(films_BSS)
    return [slice(first, first + step) for first in range(0, len(films_BSS), step)]


def _send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of the CPU on `device`, in one transfer that nobody waits for; float32 holds indices to 2^24."""
    # One message in place of a dozen: each would cost a launch of its own.
    joined = torch.cat([tensor.flatten().float() for tensor in tensors])
    if device.type == "cuda":
        joined = joined.pin_memory().to(device, non_blocking=True)
    parts = torch.split(joined, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
