"""Packed films -> target, anchor and focal views, cut for the whole batch where the films lie.

In: uint8 films [B, S, S] with their valid boxes. Out: float views, normalised, and the patches that an anchor keeps.
Every draw is a function of (seed, step, purpose) and is made on the CPU, so that all devices see the same boxes.

Shape letters: B films, V views of a kind, S side of a packed film, P side of a view, N patches, K kept patches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cxrssl.core.recipe import ObjectiveSettings, ViewSettings
from cxrssl.core.seed import derive_seed

ASPECT_RATIO = (3 / 4, 4 / 3)
ALL_FILMS = slice(None)


@dataclass(frozen=True)
class Boxes:
    """Where each view lies in its film, in pixels of the packed film, and how it is changed."""

    top_BV: Tensor
    left_BV: Tensor
    height_BV: Tensor
    width_BV: Tensor
    is_flipped_BV: Tensor
    contrast_BV: Tensor
    brightness_BV: Tensor

    def of(self, part: slice) -> Boxes:
        """Return the boxes of some of the films."""
        return Boxes(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


@dataclass(frozen=True)
class Views:
    """The views of one batch; `anchors` holds one tensor for each side length that is in use."""

    target_B1PP: Tensor
    anchors_BV1PP: list[Tensor]
    kept_BVK: list[Tensor | None]
    """Indices of the patches each anchor keeps, ascending; None keeps all."""


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
    pixels.
    Source: Shurrab et al. 2024, section 1.1; Assran et al. 2022, section 3: one target, random and focal anchors.
    """
    device = films_BSS.device
    pixels = films_BSS.float()
    here_B4 = valid_B4[part]
    assert len(here_B4) == len(films_BSS), "the films are those of the part"

    def cut(num: int, scale: tuple[float, float], px: int, purpose: str) -> Tensor:
        boxes = draw_boxes(valid_B4, num, scale, views, derive_seed(seed, step, purpose)).of(part)
        return cut_views(pixels, here_B4.to(device), boxes, px, views)

    anchors: list[Tensor] = []
    kept: list[Tensor | None] = []
    kinds = [
        (views.num_random, views.global_scale, views.global_px, "random", objective.mask_frac > 0),
        (views.num_focal, views.focal_scale, views.focal_px, "focal", objective.mask_frac > 0 and objective.mask_focal),
    ]
    for num, scale, px, purpose, is_masked in kinds:
        if num == 0:
            continue
        anchors.append(cut(num, scale, px, f"views/{purpose}"))
        num_patches = (px // patch_px) ** 2
        mask_seed = derive_seed(seed, step, f"mask/{purpose}")
        drawn = draw_kept(len(valid_B4), num, num_patches, objective, mask_seed)[part] if is_masked else None
        kept.append(None if drawn is None else drawn.to(device))
    target = cut(1, views.global_scale, views.global_px, "views/target")[:, 0]
    return Views(target, anchors, kept)


def draw_boxes(valid_B4: Tensor, num_views: int, scale: tuple[float, float], views: ViewSettings, seed: int) -> Boxes:
    """Draw crop boxes inside each film's valid box: area from `scale`, aspect ratio log-uniform in [3/4, 4/3].

    Source: Szegedy et al. 2015 (inception crop). Differs: a box that does not fit is clipped to the film at once, where
    the usual implementation tries ten times and then takes the centre.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(valid_B4), num_views)

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    top, left, height, width = (column[:, None].float() for column in valid_B4.cpu().unbind(1))
    area = draw(*scale) * height * width
    ratio = torch.exp(draw(math.log(ASPECT_RATIO[0]), math.log(ASPECT_RATIO[1])))
    box_width = torch.minimum(torch.sqrt(area * ratio), width)
    box_height = torch.minimum(torch.sqrt(area / ratio), height)
    return Boxes(
        top_BV=top + draw(0, 1) * (height - box_height),
        left_BV=left + draw(0, 1) * (width - box_width),
        height_BV=box_height,
        width_BV=box_width,
        is_flipped_BV=draw(0, 1) < views.flip_prob,
        contrast_BV=draw(1 - views.contrast, 1 + views.contrast),
        brightness_BV=draw(-views.brightness, views.brightness),
    )


def cut_views(films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes, px: int, views: ViewSettings) -> Tensor:
    """Return normalised views [B, V, 1, P, P] of grey values in [0, 255], resampled with an antialiasing filter.

    The two axes are resampled by one matrix product each; the filter is that of Pillow's BILINEAR with a box.
    """
    device, size = films_BSS.device, films_BSS.shape[-1]
    top, left, height, width = valid_B4.float().to(device).unbind(1)
    rows_BVPS = _filter_weights(boxes.top_BV.to(device), boxes.height_BV.to(device), top, height, px, size)
    columns_BVPS = _filter_weights(boxes.left_BV.to(device), boxes.width_BV.to(device), left, width, px, size)
    flipped = boxes.is_flipped_BV.to(device)[:, :, None, None]
    columns_BVPS = torch.where(flipped, columns_BVPS.flip(2), columns_BVPS)
    cut_BVPP = torch.matmul(torch.matmul(rows_BVPS, films_BSS[:, None]), columns_BVPS.transpose(2, 3))
    grey = cut_BVPP.div(255.0)
    if views.contrast or views.brightness:
        mean = grey.mean(dim=(2, 3), keepdim=True)
        contrast = boxes.contrast_BV.to(device)[:, :, None, None]
        grey = (grey - mean) * contrast + mean + boxes.brightness_BV.to(device)[:, :, None, None]
        grey = grey.clamp(0.0, 1.0)
    return grey.sub_(views.pixel_mean).div_(views.pixel_std)[:, :, None]


def whole_views(films_BSS: Tensor, valid_B4: Tensor, views: ViewSettings) -> Tensor:
    """Return the evaluation view [B, 1, P, P]: the whole valid box, longer side filling P, aspect kept."""
    longest = valid_B4[:, 2:].amax(dim=1, keepdim=True).float()
    centre = valid_B4[:, :2].float() + valid_B4[:, 2:].float() / 2
    shape = (len(films_BSS), 1)
    none = torch.zeros(shape)
    boxes = Boxes(
        (centre[:, :1] - longest / 2), (centre[:, 1:] - longest / 2), longest, longest, none.bool(), none + 1, none
    )
    settings = ViewSettings(pixel_mean=views.pixel_mean, pixel_std=views.pixel_std)
    return cut_views(films_BSS.float(), valid_B4, boxes, views.global_px, settings)[:, 0]


def draw_kept(num_films: int, num_views: int, num_patches: int, objective: ObjectiveSettings, seed: int) -> Tensor:
    """Draw which patches each anchor keeps: [B, V, K] ascending indices, the same number for every view.

    Source: Assran et al. 2022, section 3 (random drop). The class token is never counted and always kept.
    """
    choices = num_patches - objective.hide_last_patch
    num_kept = max(1, int(num_patches * (1 - objective.mask_frac)) - objective.hide_last_patch)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand((num_films, num_views, choices), generator=generator)
    return noise.argsort(dim=2)[:, :, :num_kept].sort(dim=2).values


def _filter_weights(start_BV: Tensor, extent_BV: Tensor, low_B: Tensor, length_B: Tensor, px: int, size: int) -> Tensor:
    """Return [B, V, P, S]: the weight of source pixel s in output pixel p; rows sum to 1, or to 0 outside the film."""
    step_BV1 = (extent_BV / px)[:, :, None]
    centre_BVP = start_BV[:, :, None] + (torch.arange(px, device=start_BV.device) + 0.5) * step_BV1
    support_BV11 = step_BV1.clamp(min=1.0)[..., None]
    source_S = torch.arange(size, device=start_BV.device) + 0.5
    weights = (1.0 - (source_S - centre_BVP[..., None]).abs() / support_BV11).clamp_(min=0.0)
    inside_BS = (source_S >= low_B[:, None]) & (source_S <= (low_B + length_B)[:, None])
    weights = weights * inside_BS[:, None, None, :]
    total = weights.sum(dim=3, keepdim=True)
    outside = (centre_BVP < low_B[:, None, None]) | (centre_BVP > (low_B + length_B)[:, None, None])
    return torch.where(outside[..., None], 0.0, weights / total.clamp(min=1e-6))
