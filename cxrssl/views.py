"""Packed films -> target, anchor and focal views, cut for the whole batch where the films lie.

In: uint8 films [B, S, S] with their valid boxes. Out: float views, normalised, and the patches that an anchor keeps.
Every draw is a function of (seed, step, purpose), made on the CPU so that all devices see the same, and sent at once.
Never: a wait for the device.

Shape letters: B films, V views of a kind, S side of a packed film, P side of a view, T source pixels under the filter
of one pixel of a view, K kept patches.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrssl.core.seed import derive_seed
from cxrssl.recipe.objectives import MsnSettings, ObjectiveSettings
from cxrssl.recipe.settings import ViewSettings

ASPECT_RATIO = (3 / 4, 4 / 3)
ALL_FILMS = slice(None)
CPU_GROUP = 8


class Boxes(NamedTuple):
    """Where each view lies in its film, in pixels of the packed film, and how it is changed."""

    top_BV: Tensor
    left_BV: Tensor
    height_BV: Tensor
    width_BV: Tensor
    is_flipped_BV: Tensor
    contrast_BV: Tensor
    brightness_BV: Tensor
    angle_deg_BV: Tensor

    def of(self, group: slice) -> Boxes:
        """Return the boxes of some of the films."""
        return Boxes(*(values[group] for values in self))


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of one batch; `anchors` holds one tensor for each side length that is in use."""

    target_B1PP: Tensor
    anchors_BV1PP: list[Tensor]
    kept_BVK: list[Tensor | None]
    """Indices of the patches each anchor keeps, ascending; None keeps all."""


class _Kind(NamedTuple):
    purpose: str
    num_views: int
    scale: tuple[float, float]
    px: int
    is_masked: bool


@torch.no_grad()
def make_views(
    films_BSS: Tensor,
    valid_B4: Tensor,
    views: ViewSettings,
    objective: ObjectiveSettings,
    patch_px: int,
    seed: int,
    step: int,
    part: slice = ALL_FILMS,
) -> Views:
    """Return the views of step `step`, or of the `part` of its films that is at hand; they are the same in both.

    Shapes: films of the part uint8 [B, S, S]; valid boxes of the whole batch [*, 4] as (top, left, height, width) in
    pixels, on the CPU.
    Source: Shurrab et al. 2024, section 1.1; Assran et al. 2022, section 3: one target, random and focal anchors.
    """
    assert len(valid_B4[part]) == len(films_BSS), "the films are those of the part"
    assert isinstance(objective, MsnSettings), "the views are those of MSN"
    num_films = len(valid_B4)
    masks = objective.mask_frac > 0
    kinds = [
        _Kind("target", 1, views.global_scale, views.global_px, False),
        _Kind("random", views.num_random, views.global_scale, views.global_px, masks),
        _Kind("focal", views.num_focal, views.focal_scale, views.focal_px, masks and objective.mask_focal),
    ]
    kinds = [kind for kind in kinds if kind.num_views]

    # ---- draws, for the whole batch
    drawn = [valid_B4[part]]
    for kind in kinds:
        box_seed, mask_seed = (derive_seed(seed, step, f"{what}/{kind.purpose}") for what in ("views", "mask"))
        boxes = draw_boxes(valid_B4, kind.num_views, kind.scale, views, box_seed)
        num_patches = (kind.px // patch_px) ** 2
        no_mask = torch.empty(num_films, 0)
        kept = draw_kept(num_films, kind.num_views, num_patches, objective, mask_seed) if kind.is_masked else no_mask
        drawn += [torch.stack(boxes.of(part)), kept[part]]

    # ---- views, for the part, where its films lie
    here_B4, *sent = _send(drawn, films_BSS.device)
    target, *anchors = _cut_kinds(films_BSS, here_B4, kinds, sent[::2], views)
    kept_BVK = [kept.long() if kind.is_masked else None for kind, kept in zip(kinds, sent[1::2], strict=True)]
    return Views(target[:, 0], anchors, kept_BVK[1:])


def _cut_kinds(
    films_BSS: Tensor, valid_B4: Tensor, kinds: Sequence[_Kind], boxes_of: Sequence[Tensor], views: ViewSettings
) -> list[Tensor]:
    """Return the views of each kind, [B, V, 1, P, P]; kinds of one size and scale are cut at once."""
    alike: dict[tuple[int, tuple[float, float]], list[Tensor]] = {}
    for kind, boxes in zip(kinds, boxes_of, strict=True):
        alike.setdefault((kind.px, kind.scale), []).append(boxes)
    cuts: list[list[Tensor]] = [[] for _ in alike]
    for group in _cache_sized(films_BSS):
        pixels = films_BSS[group].mT.contiguous().float().mT  # by columns, as cut_views reads them
        for pieces, ((px, scale), stacks) in zip(cuts, alike.items(), strict=True):
            together = Boxes(*torch.cat(stacks, dim=2)).of(group)
            longest_side = _longest_side(scale, films_BSS.shape[-1])
            pieces.append(cut_views(pixels, valid_B4[group], together, px, views, longest_side))
    found: list[Tensor] = []
    for pieces, stacks in zip(cuts, alike.values(), strict=True):
        found += torch.split(torch.cat(pieces), [stack.shape[2] for stack in stacks], dim=1)
    return found


def _cache_sized(films_BSS: Tensor) -> list[slice]:
    """Return the films in groups whose views are cut in a CPU's cache, twice as fast; on a GPU all at once."""
    step = CPU_GROUP if films_BSS.device.type == "cpu" else len(films_BSS)
    return [slice(first, first + step) for first in range(0, len(films_BSS), step)]


def draw_boxes(valid_B4: Tensor, num_views: int, scale: tuple[float, float], views: ViewSettings, seed: int) -> Boxes:
    """Draw crop boxes inside each film's valid box: area from `scale`, aspect ratio log-uniform in [3/4, 4/3].

    Source: Szegedy et al. 2015 (inception crop). Differs: a box that does not fit is clipped to the film at once, where
    the usual implementation tries ten times and then takes the centre.
    """
    drawn = torch.rand((8, len(valid_B4), num_views), generator=torch.Generator().manual_seed(seed))
    area, ratio, down, across, flip, contrast, brightness, angle = drawn.unbind()

    def between(drawn_BV: Tensor, low: float, high: float) -> Tensor:
        return drawn_BV * (high - low) + low

    top, left, height, width = (column[:, None].float() for column in valid_B4.cpu().unbind(1))
    area = between(area, *scale) * height * width
    ratio = torch.exp(between(ratio, math.log(ASPECT_RATIO[0]), math.log(ASPECT_RATIO[1])))
    box_width = torch.minimum(torch.sqrt(area * ratio), width)
    box_height = torch.minimum(torch.sqrt(area / ratio), height)
    return Boxes(
        top_BV=top + down * (height - box_height),
        left_BV=left + across * (width - box_width),
        height_BV=box_height,
        width_BV=box_width,
        is_flipped_BV=flip < views.flip_prob,
        contrast_BV=between(contrast, 1 - views.contrast, 1 + views.contrast),
        brightness_BV=between(brightness, -views.brightness, views.brightness),
        angle_deg_BV=between(angle, -views.rotation_deg, views.rotation_deg),
    )


def _longest_side(scale: tuple[float, float], size: int) -> float:
    """Return the longest side that `draw_boxes` can draw in a film of side `size`, in pixels."""
    return size * min(1.0, math.sqrt(scale[1] * ASPECT_RATIO[1]))


def _send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of the CPU on `device`, in one transfer that nobody waits for; float32 holds indices to 2^24."""
    joined = torch.cat([tensor.flatten().float() for tensor in tensors])
    if device.type == "cuda":
        joined = joined.pin_memory().to(device, non_blocking=True)
    parts = torch.split(joined, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def cut_views(
    films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes, px: int, views: ViewSettings, longest_side: float
) -> Tensor:
    """Return normalised views [B, V, 1, P, P] of grey values in [0, 255]; no box is longer than `longest_side` pixels.

    The filter is that of Pillow's BILINEAR with a box, antialiased. A rotated view is first cut upright, as the box
    around it with twice as many pixels, through a filter as wide as that of the view; then it is turned with bilinear
    interpolation.
    """
    num_taps = math.ceil(2 * max(1.0, longest_side / px))
    if views.rotation_deg:
        grey_BVPP = _cut_rotated(films_BSS, valid_B4, boxes, px, num_taps, views.rotation_deg)
    else:
        reach = (boxes.height_BV.double() / px, boxes.width_BV.double() / px)
        grey_BVPP = _resample(films_BSS, valid_B4, boxes, px, reach, num_taps)
    if views.contrast or views.brightness:
        mean = grey_BVPP.mean(dim=(2, 3), keepdim=True)
        changed = (grey_BVPP - mean) * boxes.contrast_BV[..., None, None] + mean
        grey_BVPP = (changed + boxes.brightness_BV[..., None, None] * 255.0).clamp_(0.0, 255.0)
    return grey_BVPP.sub_(views.pixel_mean * 255.0).div_(views.pixel_std * 255.0)[:, :, None]


@torch.no_grad()
def whole_views(films_BSS: Tensor, valid_B4: Tensor, views: ViewSettings) -> Tensor:
    """Return the evaluation view [B, 1, P, P]: the whole valid box, longer side filling P, aspect kept."""
    valid_B4 = valid_B4.to(films_BSS.device).float()
    longest = valid_B4[:, 2:].amax(dim=1, keepdim=True)
    centre = valid_B4[:, :2] + valid_B4[:, 2:] / 2
    top_B1, left_B1 = torch.split(centre - longest / 2, 1, dim=1)
    zero = torch.zeros_like(longest)
    boxes = Boxes(top_B1, left_B1, longest, longest, zero, zero + 1, zero, zero)
    plain = ViewSettings(pixel_mean=views.pixel_mean, pixel_std=views.pixel_std)
    return cut_views(films_BSS.float(), valid_B4, boxes, views.global_px, plain, films_BSS.shape[-1])[:, 0]


def draw_kept(num_films: int, num_views: int, num_patches: int, objective: MsnSettings, seed: int) -> Tensor:
    """Draw which patches each anchor keeps: [B, V, K] ascending indices, the same number for every view.

    Source: Assran et al. 2022, section 3 (random drop). The class token is never counted and always kept.
    """
    choices = num_patches - objective.hide_last_patch
    num_kept = max(1, int(num_patches * (1 - objective.mask_frac)) - objective.hide_last_patch)
    noise = torch.rand((num_films, num_views, choices), generator=torch.Generator().manual_seed(seed))
    # Equal draws in the order of their patches, whatever the machine: the draw's 24 bits above those of the index.
    keys = np.sort(((noise * 2**24).long() * 2**32 + torch.arange(choices)).numpy(), axis=2)[:, :, :num_kept]
    return torch.from_numpy(np.sort(keys & (2**32 - 1), axis=2))


def _resample(
    films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes, px: int, reach: tuple[Tensor, Tensor], num_taps: int
) -> Tensor:
    """Return the boxes [B, V, P, P] in grey values: first across the columns of the film, then down the rows.

    Only the pixels under the filter are read: up to `reach` (down, across) to either side, in pixels of the film. One
    axis after the other, each as weighted sums of whole rows of a table.
    """
    size = films_BSS.shape[-1]
    top, left, height, width = valid_B4.unbind(1)
    step_BVP = torch.arange(px, device=films_BSS.device).expand(*boxes.top_BV.shape, -1) + 0.5
    mirrored_BVP = torch.where(boxes.is_flipped_BV.bool()[..., None], px - step_BVP, step_BVP)
    # Positions in double: at 500 pixels from the edge, float32 moves a filter by 3e-5 pixels.
    across_BVP = boxes.left_BV[..., None] + mirrored_BVP * (boxes.width_BV.double() / px)[..., None]
    down_BVP = boxes.top_BV[..., None] + step_BVP * (boxes.height_BV.double() / px)[..., None]
    columns = _filter_taps(across_BVP, reach[1], left, width, num_taps)
    rows = _filter_taps(down_BVP, reach[0], top, height, num_taps)
    across_BVPS = _sum_rows(films_BSS.mT.reshape(-1, size), size, columns)
    return _sum_rows(across_BVPS.mT.reshape(-1, px), size, rows)


def _filter_taps(
    centre_BVP: Tensor, reach_BV: Tensor, low_B: Tensor, length_B: Tensor, num_taps: int
) -> tuple[Tensor, Tensor]:
    """Return which source pixels each pixel of a view is made of, and how much of each: two [B, V, P, T].

    Weights sum to 1, or to 0 outside the valid range [low, low + length]; some indices lie outside the film, with
    weight 0.
    """
    reach_BV1 = reach_BV.clamp(min=1.0)[..., None]
    first_BVP = torch.floor(centre_BVP - reach_BV1 + 0.5)
    tap_T = torch.arange(num_taps, device=centre_BVP.device)
    index_BVPT = first_BVP.long()[..., None] + tap_T
    distance_BVPT = (first_BVP + 0.5 - centre_BVP).float()[..., None] + tap_T
    weights = (1.0 - distance_BVPT.abs() / reach_BV1.float()[..., None]).clamp_(min=0.0)
    low, high = low_B[:, None, None], (low_B + length_B)[:, None, None]
    weights *= (index_BVPT >= low[..., None]) & (index_BVPT < high[..., None])
    weights /= weights.sum(dim=3, keepdim=True).clamp_(min=1e-6)
    weights *= ((centre_BVP >= low) & (centre_BVP <= high))[..., None]
    return index_BVPT, weights


def _sum_rows(table: Tensor, size: int, taps: tuple[Tensor, Tensor]) -> Tensor:
    """Return [B, V, P, L]: weighted sums of rows of length L; the table is a stack of parts with `size` rows each.

    There is one part a film, or one a view.
    """
    index_BVPT, weights_BVPT = taps
    num_parts, num_taps = len(table) // size, index_BVPT.shape[-1]
    first_row = torch.arange(num_parts, device=table.device)[:, None, None] * size
    rows = index_BVPT.clamp(0, size - 1).reshape(num_parts, -1, num_taps) + first_row
    weights = weights_BVPT.reshape(-1, num_taps)
    sums = F.embedding_bag(rows.view(-1, num_taps), table, per_sample_weights=weights, mode="sum")
    return sums.view(*index_BVPT.shape[:3], -1)


def _cut_rotated(films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes, px: int, num_taps: int, max_deg: float) -> Tensor:
    """Return the boxes [B, V, P, P] in grey values, turned anticlockwise by their angles about their centres."""
    angle = boxes.angle_deg_BV.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    height, width = boxes.height_BV, boxes.width_BV
    around_height, around_width = height * cos + width * sin.abs(), width * cos + height * sin.abs()
    top, left = boxes.top_BV + (height - around_height) / 2, boxes.left_BV + (width - around_width) / 2
    around = boxes._replace(top_BV=top, left_BV=left, height_BV=around_height, width_BV=around_width)
    growth = math.cos(math.radians(max_deg)) + ASPECT_RATIO[1] * math.sin(math.radians(max_deg))
    # The spread of the turned filter along the axes of the film.
    down, across = torch.hypot(height * cos, width * sin), torch.hypot(width * cos, height * sin)
    reach = (down.double() / px, across.double() / px)
    upright_BVPP = _resample(films_BSS, valid_B4, around, 2 * math.ceil(px * growth), reach, num_taps)

    zero = torch.zeros_like(angle)
    x = torch.stack([cos * width, -sin * height, zero], dim=-1) / around_width[..., None]
    y = torch.stack([sin * width, cos * height, zero], dim=-1) / around_height[..., None]
    flat = upright_BVPP.flatten(0, 1)[:, None]
    grid = F.affine_grid(torch.stack([x, y], dim=-2).flatten(0, 1), [len(flat), 1, px, px], align_corners=False)
    turned = F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.view(*upright_BVPP.shape[:2], px, px)
