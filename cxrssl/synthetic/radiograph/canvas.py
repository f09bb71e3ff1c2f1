"""Soft shapes on a film: the grid in body coordinates, smooth masks, ink for lines, and noise.

Body coordinates: the middle of the chest is (0, 0), y points down, half of the film's short side is about 1.
On a frontal film x points to the patient's left, which is the viewer's right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Field: TypeAlias = npt.NDArray[np.float32]
Points: TypeAlias = npt.NDArray[np.floating[Any]]
Line: TypeAlias = tuple[Points, float, float]
"""Corners [N, 2] in body coordinates, width in body units, strength in [0, 1]."""

INK_SCALE = 2
"""Lines are drawn this much larger and then averaged, which smooths their edges."""


MARGIN = 0.06
"""Share of the film drawn beyond each edge, so that a turned patient leaves no empty corners."""


@dataclass(frozen=True)
class Canvas:
    """The pixels in body coordinates: x is one row [1, W], y one column [H, 1], so what varies along one is cheap."""

    x: Field
    y: Field
    unit_px: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]

    def blank(self) -> Field:
        """Return a layer of zeros."""
        return np.zeros(self.shape, np.float32)

    def to_px(self, points: Points) -> Points:
        """Return the (column, row) of body points [N, 2]."""
        corners: Points = (points - np.array([self.x[0, 0], self.y[0, 0]])) * self.unit_px
        return corners


def make_canvas(height: int, width: int, zoom: float, shift: tuple[float, float]) -> Canvas:
    """Return the canvas of a film with `height` rows, and a margin, for a patient who is `shift` off the middle."""
    unit_px = min(height, width) / 2 * zoom
    axes = []
    for size, off in ((width, shift[0]), (height, shift[1])):
        num = size + 2 * round(size * MARGIN)
        axes.append(((np.arange(num) - (num - 1) / 2) / unit_px - off).astype(np.float32))
    return Canvas(axes[0][None, :], axes[1][:, None], unit_px)


def soft(depth: Field, blur: float) -> Field:
    """Return 0 outside, 1 inside, and a smooth step where |depth| < blur."""
    t = depth * np.float32(0.5 / blur)
    t += np.float32(0.5)
    np.clip(t, 0, 1, out=t)
    step = t * np.float32(-2)
    step += np.float32(3)
    step *= t
    step *= t
    return step


def bump(offset: Field, radius: float) -> Field:
    """Return a smooth hill of height 1 at offset 0 that reaches 0 at |offset| = radius."""
    t = offset * np.float32(1 / radius)
    t *= t
    np.subtract(np.float32(1), t, out=t)
    np.clip(t, 0, None, out=t)
    t *= t
    return t


def join(first: Field, second: Field, blend: float) -> Field:
    """Return the depth of the union of two shapes, with the corner between them filled over `blend` units."""
    overlap: Field = np.float32(blend) - np.abs(first - second)
    np.clip(overlap, 0, None, out=overlap)
    overlap *= overlap
    overlap *= np.float32(0.25 / blend)
    overlap += np.maximum(first, second)
    return overlap


def ellipse(canvas: Canvas, cx: float, cy: float, rx: float, ry: float, turn_rad: float = 0.0) -> Field:
    """Return the depth inside an ellipse (about a distance, negative outside)."""
    return _ellipse(canvas.x, canvas.y, cx, cy, rx, ry, turn_rad)


def _ellipse(x: Field, y: Field, cx: float, cy: float, rx: float, ry: float, turn_rad: float) -> Field:
    dx, dy = x - np.float32(cx), y - np.float32(cy)
    cos, sin = float(np.cos(turn_rad)), float(np.sin(turn_rad))
    across = dx * np.float32(cos / rx) + dy * np.float32(sin / rx) if turn_rad else dx * np.float32(1 / rx)
    along = dy * np.float32(cos / ry) - dx * np.float32(sin / ry) if turn_rad else dy * np.float32(1 / ry)
    radius = np.square(across) + np.square(along)
    np.sqrt(radius, out=radius)
    np.subtract(np.float32(1), radius, out=radius)
    radius *= np.float32(min(rx, ry))
    return radius


def hill(canvas: Canvas, cx: float, cy: float, rx: float, ry: float, turn_rad: float = 0.0) -> Field:
    """Return a smooth hill over an ellipse: 1 in its middle, 0 at its border."""
    reach, layer = max(rx, ry), canvas.blank()
    left, right = np.searchsorted(canvas.x[0], (cx - reach, cx + reach))
    top, bottom = np.searchsorted(canvas.y[:, 0], (cy - reach, cy + reach))
    depth = _ellipse(canvas.x[:, left:right], canvas.y[top:bottom], cx, cy, rx, ry, turn_rad)
    layer[top:bottom, left:right] = bump(np.float32(1) - depth * np.float32(1 / min(rx, ry)), 1.0)
    return layer


def profile(at: Field, corners: Sequence[tuple[float, float]], smooth: int = 41) -> Field:
    """Return the rounded curve through `corners` (place, value) at every place of a row or column."""
    places, values = np.array(corners, np.float64).T
    table_at = np.linspace(-1.7, 1.7, 1024)
    kernel = np.hanning(smooth + 2)[1:-1]
    padded = np.pad(np.interp(table_at, places, values), smooth // 2, mode="edge")
    rounded = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.interp(at, table_at, rounded).astype(np.float32)


def ink(canvas: Canvas, lines: Sequence[Line], blur_px: int = 0) -> Field:
    """Return lines, values in [0, 1]; where they cross the later one counts, and sharp corners stay open."""
    height, width = canvas.shape
    sheet = Image.new("L", (width * INK_SCALE, height * INK_SCALE))
    pen = ImageDraw.Draw(sheet)
    all_px = (canvas.to_px(np.concatenate([points for points, _, _ in lines])) + 0.5) * INK_SCALE
    corners = list(map(tuple, all_px.tolist()))
    start = 0
    for points, thick, strength in lines:
        thick_px = max(1, round(thick * canvas.unit_px * INK_SCALE))
        pen.line(corners[start : start + len(points)], fill=round(255 * strength), width=thick_px)
        start += len(points)
    sheet = sheet.reduce(INK_SCALE)
    if blur_px:
        sheet = sheet.filter(ImageFilter.BoxBlur(blur_px))
    return np.asarray(sheet, np.float32) * np.float32(1 / 255)


def cloud(rng: np.random.Generator, canvas: Canvas, grain: float) -> Field:
    """Return smooth noise of mean 0 and spread about 1, with blobs of `grain` body units."""
    height, width = canvas.shape
    size = (max(4, round(width / canvas.unit_px / grain)), max(4, round(height / canvas.unit_px / grain)))
    coarse = Image.fromarray(rng.standard_normal((size[1], size[0]), dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def blurred(field: Field, factor: int) -> Field:
    """Return the field averaged over about `factor` pixels and enlarged again: the shape of scattered rays."""
    image = Image.fromarray(field)
    size = (max(2, image.width // factor), max(2, image.height // factor))
    small = image.resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR), np.float32)


def turn(field: Field, turn_rad: float, height: int, width: int) -> Field:
    """Return the middle [height, width] of the field turned about its centre: what falls on the film."""
    cos, sin = float(np.cos(turn_rad)), float(np.sin(turn_rad))
    rows, columns = field.shape
    off_x = (columns - 1) / 2 + 0.5 - cos * width / 2 - sin * height / 2
    off_y = (rows - 1) / 2 + 0.5 + sin * width / 2 - cos * height / 2
    frame = (cos, sin, off_x, -sin, cos, off_y)
    image = Image.fromarray(field)
    turned = image.transform((width, height), Image.Transform.AFFINE, frame, Image.Resampling.BILINEAR)
    return np.asarray(turned, np.float32)
