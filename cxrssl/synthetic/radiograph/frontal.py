"""The healthy frontal chest: outline, lungs, spine, heart, domes and vessels as layers of attenuation.

In: a canvas, a body, a pose and the findings that change shapes (heart, mediastinum, fracture, volume loss).
Out: a `Chest` for `lesions` and `devices` to add to.
"""

from __future__ import annotations

import numpy as np

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.radiograph.anatomy import Body, Chest, Pose, Signs
from cxrssl.synthetic.radiograph.bones import draw_ribs, draw_shoulders, draw_spine
from cxrssl.synthetic.radiograph.canvas import Canvas, Field, Line, bump, ellipse, hill, ink, join, profile, soft

LUNG_AXIS = 0.34
"""Distance of a lung's apex from the midline."""


def draw_frontal(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Chest:
    """Return the layers of a frontal film without its lesions."""
    wall, inner = _chest_wall(canvas, body)
    heart, middle = _heart(canvas, body, pose, signs), _mediastinum(canvas, body, pose, signs)
    dome = _domes(canvas, body, pose, signs) - canvas.y
    inside = soft(np.minimum(wall, inner), 0.025)
    lung = inside * soft(dome, 0.018)
    # Lung reaches behind the domes, so the border below them is a step and not the end of all air.
    behind = inside * soft(dome + np.float32(0.16), 0.16) * np.float32(0.14)
    shadow = np.maximum(heart, middle)
    air = np.maximum(lung, behind) * (1 - np.float32(0.92) * shadow)
    windpipe = _windpipe(canvas)
    air = np.maximum(air, np.float32(0.36) * windpipe)
    dense = _outline(canvas, body)
    dense += np.float32(0.10) * heart + np.float32(0.06) * middle * soft(canvas.y + np.float32(0.72), 0.2)
    dense += np.float32(0.07) * soft(-dome, 0.03) * soft(wall + np.float32(0.12), 0.1)
    if body.breast:
        dense += _breasts(canvas, body)
    if body.is_calcified:
        dense += _aorta_rim(canvas, body)
    if body.has_bubble:
        bubble = soft(ellipse(canvas, 0.38, 0.73, 0.15, 0.07, -0.1), 0.02) * soft(-dome, 0.02)
        air = np.maximum(air, np.float32(0.38) * bubble)
    vessels = _vessels(canvas, body, 1.0 + 0.25 * signs.get("Edema", 0.0))
    vessels *= np.float32(0.17) * lung * (1 - np.float32(0.8) * shadow)
    bone = draw_ribs(canvas, np.minimum(wall, inner), body, signs) + draw_spine(canvas) + draw_shoulders(canvas, pose)
    return Chest(canvas, air, dense, vessels, bone * np.float32(body.bone), canvas.blank(), lung, wall, dome, False)


def _outline(canvas: Canvas, body: Body) -> Field:
    """Thickness of soft tissue: neck, shoulders, trunk and arms."""
    side, y = np.abs(canvas.x), canvas.y
    waist = body.half_width + 0.17 + 0.09 * body.size
    shoulder = [(-1.4, 0.27), (-1.0, 0.3), (-0.86, 0.55), (-0.74, 0.98), (-0.5, 1.16), (-0.25, 1.1)]
    half = profile(y, [*shoulder, (-0.05, waist + 0.02), (0.4, waist - 0.01), (0.8, waist + 0.02), (1.3, waist + 0.06)])
    level = profile(y, [(-1.3, 0.6), (-0.7, 0.7), (0.2, 0.74), (0.6, 0.84), (1.2, 0.9)]) * np.float32(
        1 + 0.05 * body.size
    )
    # Half a round trunk: thickness falls with the root of the depth, over the outer part of the body.
    trunk = np.clip((half - side) * np.float32(2.1), 0, 1)
    np.sqrt(trunk, out=trunk)
    trunk *= level
    arm_mid = np.float32(waist + 0.22) + np.float32(0.10) * (y + np.float32(0.3))
    arm = bump(side - arm_mid, 0.2) * np.float32(0.45) * soft(y + np.float32(0.42), 0.15)
    outline: Field = np.maximum(trunk, arm)
    return outline


def _chest_wall(canvas: Canvas, body: Body) -> tuple[Field, Field]:
    """Depths from the outer wall and from the middle, about in body units, in both lungs."""
    side, y = np.abs(canvas.x), canvas.y
    top, width = body.lung_top, body.half_width
    steps = np.linspace(0, 1, 24)
    arc = np.sqrt(1 - (1 - steps) ** 2)
    outer = list(zip(top + steps * 0.95, LUNG_AXIS + (width - 0.02 - LUNG_AXIS) * arc, strict=True))
    inner = list(zip(top + steps * 0.22, LUNG_AXIS - (LUNG_AXIS - 0.09) * arc, strict=True))
    outer_at = profile(y, [*outer, (0.5, width + 0.005), (1.0, width + 0.01)], 13)
    # Near the apex the wall runs sideways: depth across is turned into depth at right angles.
    steep = 1 / (1 + 0.16 / np.clip(y - np.float32(top - 0.06), 0.06, None))
    above = np.clip(np.float32(top) - y, 0, None) * np.float32(2)
    return (outer_at - side) * steep - above, side - profile(y, inner, 9) - above


def _domes(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Field:
    """y of the diaphragm at every x."""
    x = canvas.x
    loss = 0.16 * max(0.0, signs.get("Atelectasis", 0.0) - 0.3)
    lossy_side = 1 if stream(body.seed, "atelectasis side").random() < 0.5 else -1
    lift = np.float32(body.dome_lift) * (x < 0) + np.float32(loss) * (x * lossy_side > 0)
    off = np.abs(x) - np.float32(0.36)
    drop = np.where(off > 0, np.float32(1.75), np.float32(0.42)) * off * off
    return (np.float32(0.40 + 0.13 * pose.breath) - lift + drop).astype(np.float32)


def heart_scale(body: Body, pose: Pose, signs: Signs) -> float:
    """Return the heart's scale: AP projection and shallow breath enlarge it, cardiomegaly much more."""
    sick = signs.get("Cardiomegaly", 0.0)
    enlarged = 1.07 + 0.33 * sick if sick else 1.0
    return body.heart * enlarged * (1.05 if pose.is_ap else 1.0) * (1.06 - 0.06 * pose.breath)


def _heart(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Field:
    scale, mid = heart_scale(body, pose, signs), pose.twist
    low = 0.24 + 0.08 * pose.breath
    ventricle = ellipse(canvas, 0.145 * scale + mid, low + 0.01, 0.34 * scale, 0.235 * scale, body.heart_turn_rad)
    atrium = ellipse(canvas, -0.04 + mid, low - 0.03, 0.155 * scale**1.2, 0.27 * scale)
    stem = ellipse(canvas, 0.04 + mid, low - 0.33, 0.13, 0.3)
    return soft(join(join(ventricle, atrium, 0.1), stem, 0.16), 0.022)


def _mediastinum(canvas: Canvas, body: Body, pose: Pose, signs: Signs) -> Field:
    """Great vessels and spine shadow between the lungs, with the aortic knob on the left."""
    x, y = canvas.x, canvas.y
    wide = 1.08 if pose.is_ap else 1.0
    sick = signs.get("Enlarged Cardiomediastinum", 0.0)
    extra = body.middle + (0.02 + 0.10 * sick if sick else 0.0)
    right = [
        (-1.2, 0.2),
        (-0.8, 0.15),
        (-0.55, 0.12 + 0.5 * extra),
        (-0.35, 0.12 + extra),
        (-0.15, 0.12 + extra),
        (0.1, 0.10),
        (1, 0.10),
    ]
    left = [
        (-1.2, 0.2),
        (-0.8, 0.14),
        (-0.55, 0.11 + 0.5 * extra),
        (-0.35, 0.11 + extra),
        (-0.1, 0.11 + extra),
        (0.2, 0.10),
        (1, 0.10),
    ]
    middle = np.float32(pose.twist * 0.5)
    band = np.where(x < middle, profile(y, right), profile(y, left)) * np.float32(wide) - np.abs(x - middle)
    arch = ellipse(canvas, 0.075 + 0.5 * body.knob + pose.twist + 0.6 * extra, -0.34, body.knob * wide, body.knob * 1.2)
    aorta = np.float32(0.075 + 0.5 * body.knob + 0.4 * extra) - x + np.float32(pose.twist) - np.float32(0.03) * y
    aorta = np.minimum(aorta, np.minimum(x, y + np.float32(0.34)))
    return soft(join(join(band, arch, 0.06), aorta, 0.05), 0.022)


def _aorta_rim(canvas: Canvas, body: Body) -> Field:
    rim = ellipse(canvas, 0.075 + 0.5 * body.knob, -0.34, body.knob, body.knob * 1.2)
    return np.float32(0.11) * bump(rim - np.float32(0.008), 0.013) * soft(canvas.x - np.float32(0.11), 0.04)


def _windpipe(canvas: Canvas) -> Field:
    x, y = canvas.x, canvas.y
    tube = soft(np.float32(0.05) - np.abs(x + np.float32(0.008)), 0.022) * soft(np.float32(-0.17) - y, 0.03)
    split = np.float32(0.055) + np.float32(0.75) * (y + np.float32(0.17))
    bronchi = bump(np.abs(x) - split, 0.04) * soft(y + np.float32(0.22), 0.03) * soft(np.float32(0.02) - y, 0.1)
    air: Field = np.maximum(tube, bronchi * np.float32(0.8))
    return air


def _breasts(canvas: Canvas, body: Body) -> Field:
    radius, low = 0.27 + 0.09 * body.breast, 0.22 + 0.16 * body.breast
    sides = [ellipse(canvas, sign * (0.46 + 0.02 * body.size), low, radius, radius * 0.95) for sign in (-1, 1)]
    shade = soft(np.maximum(*sides), 0.022) * soft(canvas.y - np.float32(low - 0.25), 0.3)
    return shade * np.float32(0.05 + 0.045 * body.breast)


def _vessels(canvas: Canvas, body: Body, gain: float) -> Field:
    """Branching lung markings that grow out of both hila."""
    rng = stream(body.seed, "vessels")
    lines: list[Line] = []
    for sign in (-1, 1):
        num = 9
        ends = np.stack([sign * rng.uniform(0.12, 0.2, num), rng.uniform(-0.08, 0.10, num)], 1)
        angles = np.linspace(-1.3, 1.4, num) + rng.normal(0, 0.12, num)
        lengths, thick, strength = rng.uniform(0.10, 0.19, num), 0.036, 1.0
        for _ in range(4):
            tips = ends + lengths[:, None] * np.stack([sign * np.cos(angles), np.sin(angles)], 1)
            bends = (ends + tips) / 2 + rng.normal(0, 0.016, tips.shape)
            lines += [(path, thick, strength) for path in np.stack([ends, bends, tips], 1)]
            num = len(angles)
            fork = rng.uniform(0.1, 0.6, num)
            angles = np.concatenate([angles - fork, angles + fork * rng.uniform(0.3, 1, num)])
            ends = np.concatenate([tips, tips])
            lengths = np.concatenate([lengths, lengths]) * rng.uniform(0.6, 1.0, 2 * num)
            thick, strength = thick * 0.6, strength * 0.72
    lines.sort(key=lambda line: line[2])
    hila = hill(canvas, -0.17, 0.02, 0.13, 0.19) + hill(canvas, 0.17, -0.02, 0.12, 0.18)
    gain *= float(rng.uniform(0.8, 1.25))
    return np.float32(gain) * (ink(canvas, lines, 1) + np.float32(0.6) * hila)
