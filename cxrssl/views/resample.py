"""Boxes of films -> views: antialiased, turned, mirrored, normalised, where the films lie.

Never: a pixel from outside a film's valid box, or a wait for the device.
Shape letters: B films, V views of a kind, S side of a packed film, P side of a view, T source pixels under the filter
of one pixel of a view.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import ASPECT_RATIO, Boxes


def cut_views(
    films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes, px: int, views: ViewSettings, longest_side: float
) -> Tensor:
    """Return normalised views [B, V, 1, P, P] of grey values in [0, 255]; no box is longer than `longest_side` pixels.

    The filter is that of Pillow's BILINEAR with a box, antialiased. A rotated view is first cut upright, as the box
    around it with twice as many pixels, through a filter as wide as that of the view; then it is turned with bilinear
    interpolation.
    """
    num_taps = count_taps(longest_side, px)
    if views.rotation_deg:
        grey_BVPP = _cut_rotated(films_BSS, valid_B4, boxes, px, num_taps, views.rotation_deg)
    else:
        reach = (boxes.height_BV.double() / px, boxes.width_BV.double() / px)
        grey_BVPP = _resample(films_BSS, valid_B4, boxes, px, reach, num_taps)
    return normalise_views(grey_BVPP, boxes, views)


def count_taps(longest_side: float, px: int) -> int:
    """Return T for boxes of at most this side: a triangle filter reaches one pixel of the view to either side, and one
    pixel of the film at least.
    """
    return math.ceil(2 * max(1.0, longest_side / px))


def normalise_views(grey_BVPP: Tensor, boxes: Boxes, views: ViewSettings) -> Tensor:
    """Return views [B, V, 1, P, P] with their contrast and brightness changed, and normalised; the input is lost."""
    if views.contrast or views.brightness:
        # About the view's own mean, as Pillow's and torchvision's contrast; clipped to what a film can hold.
        mean = grey_BVPP.mean(dim=(2, 3), keepdim=True)
        changed = (grey_BVPP - mean) * boxes.contrast_BV[..., None, None] + mean
        grey_BVPP = (changed + boxes.brightness_BV[..., None, None] * 255.0).clamp_(0.0, 255.0)
    return grey_BVPP.sub_(views.pixel_mean * 255.0).div_(views.pixel_std * 255.0)[:, :, None]


@torch.no_grad()
def whole_views(films_BSS: Tensor, valid_B4: Tensor, views: ViewSettings) -> Tensor:
    """Return the evaluation view [B, 1, P, P]: the whole valid box, longer side filling P, aspect kept."""
    valid_B4 = valid_B4.to(films_BSS.device).float()
    # A square around the valid box: its short side is padded with black, and nothing is stretched.
    longest = valid_B4[:, 2:].amax(dim=1, keepdim=True)
    centre = valid_B4[:, :2] + valid_B4[:, 2:] / 2
    top_B1, left_B1 = torch.split(centre - longest / 2, 1, dim=1)
    zero = torch.zeros_like(longest)
    boxes = Boxes(top_B1, left_B1, longest, longest, zero, zero + 1, zero, zero)
    plain = ViewSettings(pixel_mean=views.pixel_mean, pixel_std=views.pixel_std)
    return cut_views(films_BSS.float(), valid_B4, boxes, views.global_px, plain, films_BSS.shape[-1])[:, 0]


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
    # A flip reads the columns backwards; no pixel is copied for it.
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
    # Padding around the film has no weight, and what is left sums to one again: no dark rim.
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
    # A table whose rows are rows of pixels, gathered and weighted in one kernel, forward only.
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
    # The upright box around a turned one is larger by at most this factor.
    growth = math.cos(math.radians(max_deg)) + ASPECT_RATIO[1] * math.sin(math.radians(max_deg))
    # The spread of the turned filter along the axes of the film.
    down, across = torch.hypot(height * cos, width * sin), torch.hypot(width * cos, height * sin)
    reach = (down.double() / px, across.double() / px)
    upright_BVPP = _resample(films_BSS, valid_B4, around, 2 * math.ceil(px * growth), reach, num_taps)

    # From the corners of the view, in [-1, 1], to those of the upright box: affine_grid takes the inverse map.
    zero = torch.zeros_like(angle)
    x = torch.stack([cos * width, -sin * height, zero], dim=-1) / around_width[..., None]
    y = torch.stack([sin * width, cos * height, zero], dim=-1) / around_height[..., None]
    flat = upright_BVPP.flatten(0, 1)[:, None]
    grid = F.affine_grid(torch.stack([x, y], dim=-2).flatten(0, 1), [len(flat), 1, px, px], align_corners=False)
    turned = F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.view(*upright_BVPP.shape[:2], px, px)
