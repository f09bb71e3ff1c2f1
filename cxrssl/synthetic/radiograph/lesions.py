"""Findings of lung and pleura, painted on the layers of a healthy chest. Heart, mediastinum and bones are drawn there.

In: a `Chest`, severities, one random stream for each finding. Out: the same layers, changed in place.
A finding draws from its own stream only, so adding one leaves all others as they were.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cxrssl.synthetic.radiograph.anatomy import Chest, Pose, Signs
from cxrssl.synthetic.radiograph.canvas import Field, bump, cloud, ellipse, hill, ink, profile, soft

Rng = np.random.Generator


def add_lesions(chest: Chest, pose: Pose, signs: Signs, stream_of: Callable[[str], Rng]) -> None:
    """Paint every finding of `signs` that this module knows."""
    for finding, paint in PAINTERS.items():
        if finding in signs:
            paint(chest, pose, signs[finding], stream_of(finding))


def _draw_sides(chest: Chest, rng: Rng, both_frac: float) -> list[tuple[Field, int]]:
    """Return the affected sides as (mask, sign of x); on a lateral film it is one, the back."""
    sign, is_both = int(rng.choice([-1, 1])), bool(rng.random() < both_frac)
    if chest.is_lateral:
        return [(soft(chest.canvas.x - np.float32(0.0), 0.12), 1)]
    return [(soft(chest.canvas.x * np.float32(s), 0.03), s) for s in ((sign, -sign) if is_both else (sign,))]


def _draw_place(chest: Chest, rng: Rng, top: float, bottom: float) -> tuple[float, float, int]:
    """Return a place in the lung and its side; a lateral film shows the same height."""
    sign, across, height = int(rng.choice([-1, 1])), float(rng.uniform(0.30, 0.54)), float(rng.uniform(top, bottom))
    # Lung on both sides of the spine's edge, clear of the heart.
    return (-0.1 + 1.2 * (across - 0.25), height, sign) if chest.is_lateral else (sign * across, height, sign)


def _fill(chest: Chest, mask: Field, share: float, weight: float) -> None:
    """Replace air by fluid where `mask` is 1: what lies there loses its borders."""
    chest.air *= 1 - np.float32(share) * mask
    chest.vessels *= 1 - np.float32(share) * mask
    chest.dense += np.float32(weight) * mask * chest.lung


def _paint_effusion(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """Fluid with a meniscus that climbs the wall; in the recumbent a veil over the lower lung as well."""
    y = chest.canvas.y
    for mask, _ in _draw_sides(chest, rng, 0.35):
        level = (0.05 + 0.42 * sick) * rng.uniform(0.85, 1.1) * (0.8 if pose.is_recumbent else 1.0)
        climb = np.float32(0.10 + 0.12 * sick) * np.exp(np.clip(chest.wall, 0, None) * np.float32(-9))
        bottom = 0.70 if chest.is_lateral else 0.66
        fluid = soft(y - np.float32(bottom - level) + climb, 0.035) * mask
        _fill(chest, fluid, 0.95, 0.13)
        if pose.is_recumbent:
            veil = mask * soft(y + np.float32(0.35 - 0.5 * (1 - sick)), 0.75)
            _fill(chest, veil, 0.15 + 0.3 * sick, 0.03)


def _paint_edema(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """Haze around both hila, coarse reticulation, and short septal lines at the wall."""
    canvas = chest.canvas
    if chest.is_lateral:
        haze = hill(canvas, 0.08, 0.05, 0.6, 0.62)
    else:
        haze = hill(canvas, -0.30, 0.06, 0.42, 0.55, 0.15) + hill(canvas, 0.30, 0.06, 0.42, 0.55, -0.15)
    patchy = 1 + np.float32(0.35) * cloud(rng, canvas, 0.10)
    net = np.abs(cloud(rng, canvas, 0.022)) + np.abs(cloud(rng, canvas, 0.035))
    strength = 0.12 + 0.78 * sick
    chest.dense += chest.lung * (
        np.float32(0.15 * strength) * haze * patchy + np.float32(0.05 * strength) * net * (haze + 0.35)
    )
    chest.air *= 1 - np.float32(0.35 * strength) * np.clip(haze, 0, 1)
    if not chest.is_lateral:
        heights = rng.uniform(0.1, 0.5, 14)
        signs = rng.choice([-1, 1], 14)
        lines = [
            (np.array([[s * 0.60, h + 0.012], [s * 0.68, h]]), 0.01, 1.0) for s, h in zip(signs, heights, strict=True)
        ]
        chest.dense += np.float32(0.16 * strength) * ink(canvas, lines) * chest.lung


def _paint_consolidation(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """One dense lobe with a ragged border; air-filled bronchi show as dark branches in it."""
    cx, cy, sign = _draw_place(chest, rng, -0.35, 0.36)
    size = 0.17 + 0.14 * sick
    ragged = ellipse(chest.canvas, cx, cy, size * 1.15, size, rng.uniform(-0.4, 0.4))
    mask = soft(ragged + np.float32(0.045) * cloud(rng, chest.canvas, 0.09), 0.05)
    _fill(chest, mask, 0.62 + 0.3 * sick, 0.06 + 0.05 * sick)
    starts = rng.uniform(-0.08, 0.08, 4)
    tubes = [
        (
            np.array([[cx - sign * size * 0.8, cy + s * 0.4], [cx, cy + s], [cx + sign * size * 0.5, cy + 2.2 * s]]),
            0.016,
            1.0,
        )
        for s in starts
    ]
    chest.dense -= np.float32(0.10) * ink(chest.canvas, tubes, 1) * mask


def _paint_pneumonia(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """Several patches that run together, mostly in one lower zone."""
    cx, cy, _ = _draw_place(chest, rng, -0.05, 0.34)
    patches = chest.canvas.blank()
    for _ in range(3 + round(3 * sick)):
        dx, dy = rng.normal(0, 0.10, 2)
        radius = rng.uniform(0.09, 0.15) * (0.9 + 0.5 * sick)
        patches += hill(chest.canvas, cx + dx, cy + dy, radius, radius * rng.uniform(0.7, 1.0))
    mottled = np.clip(patches, 0, 1) * np.clip(1 + np.float32(0.4) * cloud(rng, chest.canvas, 0.05), 0.2, 1.5)
    _fill(chest, np.clip(mottled, 0, 1), 0.5 + 0.3 * sick, 0.08 + 0.06 * sick)


def _paint_opacity(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """A hazy area without a border, through which vessels still show."""
    cx, cy, _ = _draw_place(chest, rng, -0.35, 0.3)
    size = 0.26 + 0.14 * sick
    haze = hill(chest.canvas, cx, cy, size, size * rng.uniform(0.8, 1.2)) * (
        1 + np.float32(0.2) * cloud(rng, chest.canvas, 0.08)
    )
    chest.air *= 1 - np.float32(0.3 + 0.35 * sick) * np.clip(haze, 0, 1)
    chest.dense += np.float32(0.04 + 0.06 * sick) * haze * chest.lung


def _paint_atelectasis(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """Plates above the diaphragm, with crowding at the base; `frontal` raises the dome."""
    sign = int(rng.choice([-1, 1]))
    lines = []
    for _ in range(1 + round(2 * sick)):
        height, tilt, length = rng.uniform(0.12, 0.36), rng.normal(0.02, 0.05), rng.uniform(0.24, 0.40)
        start = 0.05 if chest.is_lateral else sign * 0.22
        way = 1 if chest.is_lateral else sign
        along = np.linspace(0, 1, 6)
        path = np.stack([start + way * length * along, height + tilt * along + 0.02 * np.sin(3 * along)], 1)
        lines.append((path, 0.026 + 0.026 * sick, 1.0))
        sign = sign if rng.random() < 0.75 else -sign
    chest.dense += np.float32(0.13 + 0.12 * sick) * ink(chest.canvas, lines, 1) * chest.lung
    base = bump(chest.dome, 0.22) * soft(chest.canvas.x * np.float32(1 if chest.is_lateral else sign), 0.1)
    _fill(chest, base, 0.2 + 0.35 * sick, 0.03)


def _paint_pneumothorax(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """A rim of bare air outside a thin pleural line, widest at the apex; the lung inside is smaller and denser."""
    sign = int(rng.choice([-1, 1]))
    side = np.float32(1) if chest.is_lateral else soft(chest.canvas.x * np.float32(sign), 0.02)
    reach = profile(chest.canvas.y, [(-0.8, 1.15), (-0.4, 1.0), (0.1, 0.65), (0.5, 0.35), (0.8, 0.3)])
    depth = np.float32(0.07 + 0.19 * sick) * reach - chest.wall
    rim = soft(depth, 0.008) * chest.lung * side
    chest.vessels *= 1 - rim
    chest.dense -= np.float32(0.07) * rim
    chest.dense += np.float32(0.17) * bump(depth, 0.014) * chest.lung * side
    chest.air *= 1 - np.float32(0.10 + 0.28 * sick) * (chest.lung * side - rim)


def _paint_lesion(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """One to three round nodules with sharp borders."""
    for k in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.3 * sick)):
        cx, cy, _ = _draw_place(chest, rng, -0.5, 0.3)
        radius = (0.042 + 0.085 * sick) * (1.0 if k == 0 else 0.7)
        ball = ellipse(chest.canvas, cx, cy, radius, radius * rng.uniform(0.85, 1.15)) * np.float32(1 / radius)
        chest.dense += np.float32(0.20 + 0.08 * sick) * np.sqrt(np.clip(ball * 2, 0, 1)) * chest.lung


def _paint_pleura(chest: Chest, pose: Pose, sick: float, rng: Rng) -> None:
    """Thickened pleura along the outer wall and over the apex, in part calcified."""
    y = chest.canvas.y
    for mask, _ in _draw_sides(chest, rng, 0.25):
        wavy = np.float32(0.035 + 0.065 * sick) * (1 + np.float32(0.35) * cloud(rng, chest.canvas, 0.16))
        outer = soft(np.abs(chest.canvas.x) - np.float32(0.25), 0.1)
        coat = soft(wavy - chest.wall, 0.014) * mask * outer * soft(y + np.float32(0.5), 0.2)
        _fill(chest, coat, 0.8, 0.10)
        plaque = bump(chest.wall - wavy, 0.016) * np.clip(cloud(rng, chest.canvas, 0.12), 0, 1.5)
        chest.bone += np.float32(0.13 * sick) * plaque * coat * chest.lung


PAINTERS: dict[str, Callable[[Chest, Pose, float, Rng], None]] = {
    "Pleural Effusion": _paint_effusion,
    "Edema": _paint_edema,
    "Consolidation": _paint_consolidation,
    "Pneumonia": _paint_pneumonia,
    "Lung Opacity": _paint_opacity,
    "Atelectasis": _paint_atelectasis,
    "Pneumothorax": _paint_pneumothorax,
    "Lung Lesion": _paint_lesion,
    "Pleural Other": _paint_pleura,
}
