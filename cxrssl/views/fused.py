"""Boxes of films -> views in one kernel a kind, for a GPU: what `resample` does in a hundred, without its tables.

Importing needs Triton. In: films, their valid boxes, the boxes of a kind. Out: the views of `resample`, to a thousandth
of a grey level. Never: a turned view.
Shape letters: B films, V views of a kind, S side of a packed film, P side of a view.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import Boxes, longest_side
from cxrssl.views.plan import ViewKind
from cxrssl.views.resample import count_taps, normalise_views

TILE = (16, 64)
"""Rows and columns of a view that one program computes."""


def cut_kinds_fused(
    films_BSS: Tensor, valid_B4: Tensor, kinds: Sequence[ViewKind], boxes_of: Sequence[Tensor], views: ViewSettings
) -> list[Tensor]:
    """Return the views of each kind, [B, V, 1, P, P], as `draw.cut_kinds` does; `views` turns nothing."""
    assert not views.rotation_deg, "turned views are cut by resample"
    is_changed = views.contrast or views.brightness
    shift, scale = (0.0, 1.0) if is_changed else (views.pixel_mean * 255.0, views.pixel_std * 255.0)
    films_BSS, valid_B4 = films_BSS.contiguous(), valid_B4.contiguous()
    found = []
    for kind, boxes in zip(kinds, boxes_of, strict=True):
        num_taps = count_taps(longest_side(kind.scale, films_BSS.shape[-1]), kind.px)
        cut_BVPP = cut_boxes(films_BSS, valid_B4, boxes.contiguous(), kind.px, num_taps, shift, scale)
        found.append(normalise_views(cut_BVPP, Boxes(*boxes), views) if is_changed else cut_BVPP[:, :, None])
    return found


@torch.library.custom_op("cxrssl::cut_boxes", mutates_args=())
def cut_boxes(
    films_BSS: Tensor, valid_B4: Tensor, boxes_8BV: Tensor, px: int, num_taps: int, shift: float, scale: float
) -> Tensor:
    """Return the boxes [B, V, P, P] as (grey value - shift) / scale; a stack of boxes has the order of `Boxes`."""
    _, num_films, num_views = boxes_8BV.shape
    views_BVPP = films_BSS.new_empty((num_films, num_views, px, px), dtype=torch.float32)
    rows, columns = TILE
    grid = (num_films * num_views, triton.cdiv(px, rows) * triton.cdiv(px, columns))
    given = (films_BSS, valid_B4, boxes_8BV, views_BVPP, num_views, films_BSS.shape[-1], shift, scale)
    _cut[grid](*given, px, num_taps, rows, columns)
    return views_BVPP


@cut_boxes.register_fake
def _shape(
    films_BSS: Tensor, valid_B4: Tensor, boxes_8BV: Tensor, px: int, num_taps: int, shift: float, scale: float
) -> Tensor:
    return films_BSS.new_empty((*boxes_8BV.shape[1:], px, px), dtype=torch.float32)


# Triton reads the annotations of a kernel, and knows none but its own.
@triton.jit
def _cut(
    films,
    valid,
    boxes,
    views,
    num_views,
    size,
    shift,
    scale,
    px: tl.constexpr,
    num_taps: tl.constexpr,
    num_rows: tl.constexpr,
    num_columns: tl.constexpr,
):
    box, tile = tl.program_id(0), tl.program_id(1)
    film, num_boxes = box // num_views, tl.num_programs(0)
    tiles_across = (px + num_columns - 1) // num_columns
    row = tile // tiles_across * num_rows + tl.arange(0, num_rows)
    column = tile % tiles_across * num_columns + tl.arange(0, num_columns)
    is_flipped = tl.load(boxes + 4 * num_boxes + box) != 0
    step = tl.where(is_flipped, px - (column + 0.5), column + 0.5)
    down, first_down, reach_down = _place(row + 0.5, boxes + box, boxes + 2 * num_boxes + box, px)
    across, first_across, reach_across = _place(step, boxes + num_boxes + box, boxes + 3 * num_boxes + box, px)
    top, left = tl.load(valid + film * 4), tl.load(valid + film * 4 + 1)
    bottom, right = top + tl.load(valid + film * 4 + 2), left + tl.load(valid + film * 4 + 3)

    pixels = films + film.to(tl.int64) * size * size
    total = tl.full((num_rows, num_columns), 0.0, tl.float32)
    sum_down = tl.full((num_rows,), 0.0, tl.float32)
    sum_across = tl.full((num_columns,), 0.0, tl.float32)
    for tap in tl.static_range(num_taps):
        _, weight = _weigh(across, first_across, reach_across, left, right, tap)
        sum_across += weight
    for tap_down in range(num_taps):
        source_row, weight_down = _weigh(down, first_down, reach_down, top, bottom, tap_down)
        sum_down += weight_down
        line = tl.full((num_rows, num_columns), 0.0, tl.float32)
        for tap in tl.static_range(num_taps):
            source_column, weight = _weigh(across, first_across, reach_across, left, right, tap)
            is_inside = (weight_down > 0)[:, None] & (weight > 0)[None, :]
            places = pixels + source_row[:, None] * size + source_column[None, :]
            line += weight[None, :] * tl.load(places, mask=is_inside, other=0).to(tl.float32)
        total += weight_down[:, None] * line
    # Where a pixel of the view lies outside the film no tap has a weight.
    total /= tl.maximum(sum_down, 1e-6)[:, None] * tl.maximum(sum_across, 1e-6)[None, :]
    seen_down = (down >= top) & (down <= bottom)
    seen_across = (across >= left) & (across <= right)
    total = tl.where(seen_down[:, None] & seen_across[None, :], total, 0.0)
    place = views + box.to(tl.int64) * px * px + row[:, None] * px + column[None, :]
    tl.store(place, (total - shift) / scale, mask=(row < px)[:, None] & (column < px)[None, :])


@triton.jit
def _place(step, first, length, px: tl.constexpr):
    """Return where pixels of a view lie in the film, in double, and how far their filter reaches."""
    pitch = tl.load(length).to(tl.float64) / px
    reach = tl.maximum(pitch, 1.0)
    centre = tl.load(first).to(tl.float64) + step.to(tl.float64) * pitch
    return centre, tl.floor(centre - reach + 0.5), reach


@triton.jit
def _weigh(centre, first, reach, low, end, tap):
    """Return a source pixel of each pixel of a view, and its weight before they are made to sum to 1."""
    index = first.to(tl.int32) + tap
    distance = (first + 0.5 - centre).to(tl.float32) + tap
    weight = tl.maximum(1.0 - tl.abs(distance) / reach.to(tl.float32), 0.0)
    return index, tl.where((index >= low) & (index < end), weight, 0.0)
