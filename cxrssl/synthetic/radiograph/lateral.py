"""The healthy lateral chest: the patient faces the left edge of the film, the spine is on the right.

In: a canvas, a body, a pose and the findings that change shapes. Out: a `Chest` as `frontal` returns it.
"""

from __future__ import annotations

import numpy as np

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.radiograph.anatomy import Body, Chest, Pose, Signs
from cxrssl.synthetic.radiograph.canvas import Canvas, Field, Line, bump, ellipse, hill, ink, join, profile, soft
from cxrssl.synthetic.radiograph.frontal import heart_scale


def spine_corners(body: Body) -> list[tuple[float, float]]:
    """Return the middle line of the spine as (y, x)."""
    bend = body.kyphosis
    return [(-1.2, 0.10), (-0.9, 0.16), (-0.5, 0.30 + bend), (0.0, 0.40 + 1.3 * bend), (0.5, 0.36 + bend), (1.2, 0.22)]


def draw_lateral(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Chest:
    """Return the layers of a lateral film without its lesions."""
    x, y = canvas.x, canvas.y
    spine_x = profile(y, spine_corners(body), 181)
    wall = _chest_wall(canvas, body, spine_x)
    dome = _domes(canvas, body, pose, signs) - y
    inside = soft(wall, 0.03)
    lung = inside * soft(dome, 0.02)
    other_dome = inside * soft(dome + np.float32(0.05 + body.dome_lift), 0.02) * np.float32(0.45)
    heart, vessels = _heart(canvas, body, pose, signs), _vessels(canvas, body, signs)
    column = soft(np.float32(0.085) - np.abs(x - spine_x), 0.02)
    air = np.maximum(lung, other_dome) * (1 - np.float32(0.66) * heart) * (1 - np.float32(0.35) * column)
    air = np.maximum(air, np.float32(0.4) * _windpipe(canvas))
    dense = _outline(canvas, body, spine_x)
    dense += np.float32(0.06) * heart + np.float32(0.07) * soft(-dome, 0.05) * soft(wall + np.float32(0.2), 0.1)
    dense += np.float32(0.16) * soft(np.float32(-0.55) - y + np.float32(0.35) * np.abs(x - np.float32(0.1)), 0.22)
    vessels *= np.float32(0.14) * lung
    bone = _bones(canvas, body, wall, spine_x, column, signs)
    return Chest(canvas, air, dense, vessels, bone * np.float32(body.bone), canvas.blank(), lung, wall, dome, True)


def _outline(canvas: Canvas, body: Body, spine_x: Field) -> Field:
    front = profile(
        canvas.y, [(-1.3, -0.2), (-0.95, -0.22), (-0.7, -0.5), (-0.3, -0.68), (0.3, -0.74), (1.2, -0.72)], 121
    )
    front = front - np.float32(0.07 * body.size)
    if body.breast:
        front = front - np.float32(0.16 * body.breast) * bump(canvas.y - np.float32(0.12 + 0.1 * body.breast), 0.38)
    back = spine_x + np.float32(0.34 + 0.05 * body.size)
    depth = np.minimum(canvas.x - front, back - canvas.x)
    thick: Field = np.sqrt(np.clip(depth * np.float32(2.0), 0, 1))
    return thick * profile(canvas.y, [(-1.3, 0.6), (-0.5, 0.74), (0.2, 0.76), (0.6, 0.86), (1.2, 0.9)])


def _chest_wall(canvas: Canvas, body: Body, spine_x: Field) -> Field:
    y, top = canvas.y, body.lung_top
    grow = np.sqrt(np.clip(1 - np.square(np.clip((np.float32(top + 0.75) - y) / np.float32(0.75), 0, 1)), 0, 1))
    front = np.float32(0.05) - np.float32(0.60) * grow - np.float32(0.04) * y
    back = np.float32(0.1) + (spine_x + np.float32(0.17) - np.float32(0.1)) * grow
    above = np.clip(np.float32(top) - y, 0, None) * np.float32(2)
    wall: Field = np.minimum(canvas.x - front, back - canvas.x) * np.float32(0.8) - above
    return wall


def _domes(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Field:
    off = canvas.x + np.float32(0.22)
    lift = 0.12 * max(0.0, signs.get("Atelectasis", 0.0) - 0.3)
    top = np.float32(0.40 + 0.12 * pose.breath - lift)
    dome: Field = top + np.where(off > 0, np.float32(0.55), np.float32(0.9)) * off * off
    return dome


def _heart(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Field:
    scale = heart_scale(body, pose, signs)
    low = 0.22 + 0.08 * pose.breath
    ventricle = ellipse(canvas, -0.20 + 0.05 * (scale - 1), low, 0.30 * scale, 0.25 * scale, 0.75)
    atrium = ellipse(canvas, -0.02, low - 0.12, 0.19 * scale**1.4, 0.22 * scale)
    sick = signs.get("Enlarged Cardiomediastinum", 0.0)
    wide = 0.03 + 0.12 * sick if sick else 0.0
    root = ellipse(canvas, -0.10, low - 0.42, 0.15 + wide, 0.3)
    arch = ellipse(canvas, 0.10, -0.32, body.knob + 0.06 + wide, body.knob + 0.05 + wide)
    shape = soft(join(ventricle, atrium, 0.1), 0.025)
    shadow: Field = np.maximum(shape, np.float32(0.6) * soft(join(root, arch, 0.1), 0.06))
    return shadow


def _windpipe(canvas: Canvas) -> Field:
    x, y = canvas.x, canvas.y
    middle = np.float32(0.10) + np.float32(0.13) * (y + np.float32(0.15))
    return soft(np.float32(0.045) - np.abs(x - middle), 0.022) * soft(np.float32(-0.1) - y, 0.04)


def _bones(canvas: Canvas, body: Body, wall: Field, spine_x: Field, column: Field, signs: Signs) -> Field:
    """Vertebrae with end plates, ribs that slope down to the front, and the sternum."""
    x, y = canvas.x, canvas.y
    off = x - spine_x
    phase: Field = (y + np.float32(0.25) * off) * np.float32(1 / 0.135)
    phase -= np.round(phase)
    plates = bump(np.abs(phase) - np.float32(0.36), 0.12)
    bones = column * (
        np.float32(0.075) + np.float32(0.06) * plates - np.float32(0.06) * bump(np.abs(phase) - np.float32(0.5), 0.12)
    )
    sick = signs.get("Fracture", 0.0)
    if sick:
        rng = stream(body.seed, "fracture place")
        crushed = bump(y - np.float32(rng.uniform(-0.1, 0.4)), 0.05 + 0.05 * sick)
        bones += column * crushed * np.float32(0.14 + 0.14 * sick)
    height = y - np.float32(0.45) * (np.float32(0.4) - x) + np.float32(0.35) * np.square(np.float32(0.4) - x)
    rib = height / np.float32(body.rib_gap) + np.float32(body.rib_phase)
    rib -= np.round(rib)
    stripes = (
        soft(np.float32(0.2) - np.abs(rib), 0.09) * soft(wall + np.float32(0.03), 0.03) * soft(np.float32(0.7) - y, 0.2)
    )
    bones += np.float32(0.055) * stripes * soft(x + np.float32(0.2), 0.4)
    front = (
        np.float32(-0.45) - np.float32(0.22) * (y + np.float32(0.1)) + np.float32(0.3) * np.square(y - np.float32(0.1))
    )
    sternum = soft(np.float32(0.03) - np.abs(x - front), 0.015) * soft(
        np.float32(0.38) - np.abs(y + np.float32(0.16)), 0.05
    )
    return bones + np.float32(0.10) * sternum


def _vessels(canvas: Canvas, body: Body, signs: Signs) -> Field:
    """Markings that radiate from the hila in the middle of the film."""
    rng = stream(body.seed, "lateral vessels")
    num = 16
    ends = np.stack([rng.uniform(-0.02, 0.16, num), rng.uniform(-0.1, 0.1, num)], 1)
    angles = np.linspace(0, 2 * np.pi, num, endpoint=False) + rng.normal(0, 0.15, num)
    lengths, thick, strength = rng.uniform(0.10, 0.2, num), 0.034, 1.0
    lines: list[Line] = []
    for _ in range(3):
        tips = ends + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        bends = (ends + tips) / 2 + rng.normal(0, 0.016, tips.shape)
        lines += [(path, thick, strength) for path in np.stack([ends, bends, tips], 1)]
        fork = rng.uniform(0.15, 0.6, len(angles))
        angles = np.concatenate([angles - fork, angles + fork])
        ends, lengths = np.concatenate([tips, tips]), np.concatenate([lengths, lengths]) * 0.8
        thick, strength = thick * 0.6, strength * 0.7
    lines.sort(key=lambda line: line[2])
    gain = np.float32(0.7 + 0.2 * signs.get("Edema", 0.0))
    return gain * (ink(canvas, lines, 1) + np.float32(0.9) * hill(canvas, 0.07, 0.0, 0.14, 0.17))
