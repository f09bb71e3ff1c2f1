"""Where each view lies in its film, and how it is changed: functions of a seed, drawn on the CPU.

Shape letters: B films, V views of a kind.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cxrssl.recipe.settings import ViewSettings

ASPECT_RATIO = (3 / 4, 4 / 3)


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

    Source: Szegedy et al. 2015 (inception crop). Differs: a box that does not fit is clipped to the film at once, where
    the usual implementation tries ten times and then takes the centre.
    """
    # One draw of eight numbers a view, used or not: a setting that is switched on moves no other number.
    drawn = torch.rand((8, len(valid_B4), num_views), generator=torch.Generator().manual_seed(seed))
    area, ratio, down, across, flip, contrast, brightness, angle = drawn.unbind()

    def between(drawn_BV: Tensor, low: float, high: float) -> Tensor:
        return drawn_BV * (high - low) + low

    top, left, height, width = (column[:, None].float() for column in valid_B4.cpu().unbind(1))
    area = between(area, *scale) * height * width
    # Uniform in the logarithm, so that wide and tall crops are equally likely.
    ratio = torch.exp(between(ratio, math.log(ASPECT_RATIO[0]), math.log(ASPECT_RATIO[1])))
    # A crop of almost the whole film may be wider than it: cut to size here, its area is then smaller than drawn.
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


def longest_side(scale: tuple[float, float], size: int) -> float:
    """Return the longest side that `draw_boxes` can draw in a film of side `size`, in pixels."""
    return size * min(1.0, math.sqrt(scale[1] * ASPECT_RATIO[1]))
