"""Where each view lies in its film, and how it is changed: functions of a seed, drawn on the CPU.

Shape letters: B films, V views of a kind, T tries.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cxrssl.recipe.settings import ViewSettings

ASPECT_RATIO = (3 / 4, 4 / 3)
NUM_TRIES = 10


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


def draw_boxes(valid_B4: Tensor, num_views: int, scale: tuple[float, float], views: ViewSettings, seed: int) -> Boxes:
    """Draw crop boxes inside each film's valid box: area from `scale`, aspect ratio log-uniform in [3/4, 4/3].

    A box that does not fit is drawn again, NUM_TRIES times in all; then the film's centre is taken, cut to the nearest
    allowed ratio. Source: Szegedy et al. 2015 (inception crop), as torchvision draws it. Differs: sides and corners are
    not rounded to whole pixels.
    """
    # One draw of eight numbers a view, used or not: a setting that is switched on moves no other number.
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand((8, len(valid_B4), num_views), generator=generator)
    area, ratio, down, across, flip, contrast, brightness, angle = drawn.unbind()
    again = torch.rand((NUM_TRIES - 1, 2, len(valid_B4), num_views), generator=generator)
    top, left, height, width = (column[:, None].float() for column in valid_B4.cpu().unbind(1))
    tries_T2BV = torch.cat([torch.stack([area, ratio])[None], again])
    box_height, box_width, does_fit = _draw_sides(tries_T2BV, height, width, scale)
    down, across = (torch.where(does_fit, place, 0.5) for place in (down, across))
    return Boxes(
        top_BV=top + down * (height - box_height),
        left_BV=left + across * (width - box_width),
        height_BV=box_height,
        width_BV=box_width,
        is_flipped_BV=flip < views.flip_prob,
        contrast_BV=_between(contrast, 1 - views.contrast, 1 + views.contrast),
        brightness_BV=_between(brightness, -views.brightness, views.brightness),
        angle_deg_BV=_between(angle, -views.rotation_deg, views.rotation_deg),
    )


def _draw_sides(
    tries_T2BV: Tensor, height_B1: Tensor, width_B1: Tensor, scale: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return height and width of the first try that fits, and whether one does, [B, V] each."""
    low, high = ASPECT_RATIO
    area_TBV = _between(tries_T2BV[:, 0], *scale) * height_B1 * width_B1
    # Uniform in the logarithm, so that wide and tall crops are equally likely.
    ratio_TBV = torch.exp(_between(tries_T2BV[:, 1], math.log(low), math.log(high)))
    width_TBV, height_TBV = torch.sqrt(area_TBV * ratio_TBV), torch.sqrt(area_TBV / ratio_TBV)
    fits_TBV = (width_TBV <= width_B1) & (height_TBV <= height_B1)
    first_BV = fits_TBV.int().argmax(dim=0, keepdim=True)
    box_width, box_height = (sides.gather(0, first_BV)[0] for sides in (width_TBV, height_TBV))
    does_fit = fits_TBV.any(dim=0)
    whole_width, whole_height = torch.minimum(width_B1, height_B1 * high), torch.minimum(height_B1, width_B1 / low)
    box_height = torch.where(does_fit, box_height, whole_height)
    return box_height, torch.where(does_fit, box_width, whole_width), does_fit


def _between(drawn: Tensor, low: float, high: float) -> Tensor:
    return drawn * (high - low) + low


def longest_side(scale: tuple[float, float], size: int) -> float:
    """Return the longest side that `draw_boxes` can draw in a film of side `size`, in pixels."""
    most = ASPECT_RATIO[1]
    # Of a box that fits; and of a film's centre, which is taken where a film is longer than its width by 1 / (a most).
    return size * min(1.0, max(math.sqrt(scale[1] * most), scale[1] * most**2))
