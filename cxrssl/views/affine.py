"""Boxes in the middle of films, and boxes moved and enlarged: the views of protocols of others.

Never: a draw that is no function of its seed.
Shape letters: B films, V views of a kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import Boxes, draw_boxes

UNCHANGED = ViewSettings(flip_prob=0.0)


def middle_boxes(valid_B4: Tensor, frac: float, views: ViewSettings = UNCHANGED, seed: int = 0) -> Boxes:
    """Return the square in the middle of each film, `frac` of its shorter side, turned and mirrored as `views` says.

    Source: torchvision's Resize and CenterCrop, whose side is a fraction of the shorter side of the film.
    """
    drawn = draw_boxes(valid_B4, 1, (1.0, 1.0), views, seed)
    top, left, height, width = (column[:, None].float() for column in valid_B4.cpu().unbind(1))
    side = frac * torch.minimum(height, width)
    places = {"top_BV": top + (height - side) / 2, "left_BV": left + (width - side) / 2}
    return drawn._replace(height_BV=side, width_BV=side, **places)


def move_boxes(
    boxes: Boxes, reach: tuple[Tensor, Tensor], zoom: tuple[float, float], translate_frac: float, seed: int
) -> Boxes:
    """Return boxes of films that are enlarged by a factor of `zoom`, turned by the boxes' angles, and moved.

    `reach` (down, across) are lengths, [B, V], of which a film is moved by up to `translate_frac`. A point u of the
    view, from its centre, is the point c + A (u - t) / z of the film, for a zoom z, a shift t and a turn A.
    Source: torchvision's RandomAffine, without shear. Differs: shifts are not rounded to whole pixels.
    """
    drawn = torch.rand((3, *boxes.top_BV.shape), generator=torch.Generator().manual_seed(seed))
    zoom_BV = drawn[0] * (zoom[1] - zoom[0]) + zoom[0]
    down, across = ((each * 2 - 1) * translate_frac * length for each, length in zip(drawn[1:], reach, strict=True))
    cos, sin = boxes.angle_deg_BV.deg2rad().cos(), boxes.angle_deg_BV.deg2rad().sin()
    height, width = boxes.height_BV / zoom_BV, boxes.width_BV / zoom_BV
    middle_down = boxes.top_BV + boxes.height_BV / 2 - (sin * across + cos * down) / zoom_BV
    middle_across = boxes.left_BV + boxes.width_BV / 2 - (cos * across - sin * down) / zoom_BV
    return boxes._replace(
        top_BV=middle_down - height / 2, left_BV=middle_across - width / 2, height_BV=height, width_BV=width
    )
