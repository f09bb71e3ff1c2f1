"""Bones of the frontal film: ribs with their fractures, spine, clavicles, blades and upper arms."""

from __future__ import annotations

import numpy as np

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.radiograph.anatomy import Body, Pose, Signs
from cxrssl.synthetic.radiograph.canvas import Canvas, Field, Line, bump, hill, ink, soft


def draw_spine(canvas: Canvas) -> Field:
    """Return vertebral bodies, disc spaces, pedicles and spinous processes."""
    x, y = canvas.x, canvas.y
    column = soft(np.float32(0.095) + np.float32(0.02) * y - np.abs(x), 0.02)
    phase: Field = y * np.float32(1 / 0.118)
    phase -= np.round(phase)
    pedicles = bump(np.abs(x) - np.float32(0.058), 0.028) * bump(phase - np.float32(0.28), 0.16)
    spines = bump(x, 0.022) * bump(phase + np.float32(0.2), 0.2)
    bone = (pedicles + spines - bump(phase, 0.22)) * np.float32(0.05)
    bone += np.float32(0.085)
    return column * bone


def draw_ribs(canvas: Canvas, wall: Field, body: Body, signs: Signs) -> Field:
    """Return posterior ribs (broad, sloping down outwards) and anterior ribs (faint, sloping down inwards)."""
    y, side = canvas.y, np.abs(canvas.x)
    sick = signs.get("Fracture", 0.0)
    wave = np.float32(0.006) * np.sin(np.float32(23) * y + np.float32(7 * body.rib_phase))
    height = y + wave + (_rib_step(canvas, body, sick) if sick else 0)
    out = np.clip(side - np.float32(0.08), 0, None)
    back = np.float32(0.75) * out * out - np.float32(0.05) * soft(side - np.float32(0.2), 0.15)
    inward = np.float32(body.half_width) - side
    front = np.float32(0.45) * inward + np.float32(0.55) * inward * inward
    backs = _stripes(height - back, body, 0.034, 0.0)
    backs *= np.float32(0.105) * soft(side - np.float32(0.07), 0.03)
    backs *= soft(np.float32(0.72) - y, 0.25)
    fronts = _stripes(height - front, body, 0.036, 0.37)
    fronts *= np.float32(0.06) * soft(side - np.float32(0.26), 0.1) * soft(inward + np.float32(0.02), 0.03)
    fronts *= soft(np.float32(0.45) - y, 0.3)
    bones = (backs + fronts) * soft(wall + np.float32(0.045), 0.02)
    bones += np.float32(0.05) * bump(wall + np.float32(0.015), 0.03) * soft(y + np.float32(0.62), 0.1)
    if sick:
        bones += _callus(canvas, body, sick)
    return bones


def _stripes(height: Field, body: Body, thick: float, shift: float) -> Field:
    """Bands at equal distances with brighter edges, as the cortex of a rib is."""
    phase = height * np.float32(1 / body.rib_gap)
    phase += np.float32(body.rib_phase + shift)
    phase -= np.round(phase)
    off = np.abs(phase, out=phase)
    off *= np.float32(body.rib_gap)
    bands = soft(np.float32(thick) - off, 0.012)
    bands *= np.float32(0.7)
    bands += np.float32(0.4) * bump(off - np.float32(thick - 0.006), 0.011)
    return bands


def fracture_place(body: Body) -> tuple[float, float]:
    """Return where this patient's ribs break, if they do."""
    rng = stream(body.seed, "fracture place")
    return float(rng.choice([-1, 1]) * rng.uniform(0.44, 0.56)), float(rng.uniform(-0.25, 0.2))


def _rib_step(canvas: Canvas, body: Body, sick: float) -> Field:
    """Displacement of ribs beyond the fracture line."""
    px, py = fracture_place(body)
    beyond = soft(np.sign(px) * canvas.x - np.float32(abs(px)), 0.008)
    return beyond * bump(canvas.y - np.float32(py), 0.2 + 0.25 * sick) * np.float32(0.03 + 0.035 * sick)


def _callus(canvas: Canvas, body: Body, sick: float) -> Field:
    """Callus and overlapping ends at the broken ribs: one to four bright knots in a row."""
    px, py = fracture_place(body)
    num = 1 + round(3 * sick)
    knots = canvas.blank()
    for k in range(num):
        knots += hill(canvas, px, py + (k - (num - 1) / 2) * body.rib_gap, 0.055 + 0.03 * sick, 0.05)
    return knots * np.float32((0.14 + 0.14 * sick) / body.bone)


def draw_shoulders(canvas: Canvas, pose: Pose) -> Field:
    """Return clavicles, blades and upper arms."""
    lift = 0.07 if pose.is_ap else 0.0
    lines: list[Line] = []
    along = np.linspace(0, 1, 16)
    for sign in (-1, 1):
        blade_x = sign * (0.72 + 0.13 * along + (0.0 if pose.is_ap else 0.07))
        lines.append((np.stack([blade_x, 0.12 - 0.62 * along], 1), 0.02, 0.45))
        lines.append((np.stack([sign * (0.78 + 0.2 * along), -0.5 - 0.12 * along], 1), 0.05, 0.6))
        arm = np.stack([sign * (1.04 + 0.13 * along), -0.50 + 1.1 * along], 1)
        lines += [(arm, 0.1, 0.9), (arm[1:], 0.05, 0.6)]
        px = sign * (0.09 + 0.72 * along) + pose.twist * (1 - along) * 2.0
        py = -0.53 - lift - 0.08 * along - 0.05 * np.sin(along * np.pi * 1.5)
        collar = np.stack([px, py], 1)
        lines += [(collar, 0.066, 1.0), (collar, 0.036, 0.72)]
    rounded = hill(canvas, -1.0, -0.56, 0.15, 0.14) + hill(canvas, 1.0, -0.56, 0.15, 0.14)
    return np.float32(0.13) * ink(canvas, lines, 1) + np.float32(0.12) * rounded
