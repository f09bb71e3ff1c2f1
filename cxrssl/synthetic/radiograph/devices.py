"""Tubes, lines, electrodes and implants: lines and plates of metal or plastic on top of the chest.

In: a `Chest`, a severity that says how many, a random stream. Out: the chest's metal layer, changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrssl.synthetic.radiograph.anatomy import Chest, Pose
from cxrssl.synthetic.radiograph.canvas import Line, bump, ellipse, ink, soft

Corners = Sequence[tuple[float, float]]
BEDSIDE = ("tube", "gastric", "central", "electrodes", "chest drain")
LASTING = ("pacemaker", "sternal wires", "port", "central")


def add_devices(chest: Chest, pose: Pose, sick: float, rng: np.random.Generator) -> None:
    """Draw one to four devices: those of a bed in the recumbent, implants in those who stand."""
    kinds = list(BEDSIDE if pose.is_recumbent else LASTING)
    num = 1 + round(3 * sick) if pose.is_recumbent else 1 + round(sick)
    order = rng.permutation(len(kinds))
    wobble = rng.normal(0, 0.012, 40)
    lines: list[Line] = []
    for k in sorted(order[:num].tolist()):
        lines += _lines_of(kinds[k], chest.is_lateral, wobble, float(rng.choice([-1, 1])))
        if kinds[k] in ("pacemaker", "port"):
            _add_box(chest, kinds[k])
    chest.metal += np.float32(0.34) * ink(chest.canvas, lines)


def _bend(corners: Corners, thick: float, strength: float) -> Line:
    """Return a smooth line through corners."""
    points = np.array(corners, np.float64)
    at = np.linspace(0, len(points) - 1, 8 * len(points))
    kernel = np.hanning(9)[1:-1] / np.hanning(9)[1:-1].sum()
    rounded = [
        np.convolve(np.pad(np.interp(at, range(len(points)), c), 3, mode="edge"), kernel, "valid") for c in points.T
    ]
    return np.stack(rounded, 1), thick, strength


def _lines_of(kind: str, is_lateral: bool, wobble: np.ndarray, sign: float) -> list[Line]:
    """Return the lines of one device on a frontal or lateral film."""
    w = wobble.tolist()
    if kind == "tube":
        path = [(0.0, -1.2), (0.1, -0.28)] if is_lateral else [(w[0], -1.4), (0.005 + w[1], -0.8), (w[2], -0.30 + w[3])]
        return [_bend(path, 0.034, 0.45), _bend(path, 0.012, 1.0)]
    if kind == "gastric":
        path = [(0.1, -1.2), (0.2, -0.2), (0.1, 0.5), (-0.1, 0.75)]
        return [
            _bend(
                path if is_lateral else [(0.03, -1.4), (0.03 + w[4], -0.3), (0.05, 0.45), (0.2, 0.66), (0.42, 0.72)],
                0.02,
                0.85,
            )
        ]
    if kind == "central":
        path = [(0.02, -1.0), (-0.02, -0.5), (0.0, 0.0)]
        front = [
            (sign * 0.34, -1.1),
            (sign * 0.24, -0.78),
            (-0.02, -0.5) if sign > 0 else (-0.15, -0.5),
            (-0.12, -0.3),
            (-0.13 + w[5], 0.05),
        ]
        return [_bend(path if is_lateral else front, 0.02, 0.8)]
    if kind == "chest drain":
        path = [(0.6, 0.4), (0.3, 0.2), (0.2, -0.4)]
        front = [(sign * 1.0, 0.5), (sign * 0.66, 0.32), (sign * 0.5, 0.0), (sign * 0.42, -0.5)]
        chosen = path if is_lateral else front
        return [_bend(chosen, 0.042, 0.4), _bend(chosen, 0.014, 1.0)]
    if kind == "electrodes":
        return _electrodes(w, is_lateral)
    if kind == "pacemaker":
        deep = [(-0.45, -0.4), (0.0, -0.35), (0.0, 0.0), (-0.25, 0.3)]
        front = [(0.50, -0.38), (0.28, -0.56), (0.0, -0.48), (-0.1, -0.2), (-0.09, 0.15), (0.1, 0.36), (0.28, 0.38)]
        return [_bend(deep if is_lateral else front, 0.02, 0.9)]
    if kind == "port":
        return [_bend([(-0.4, -0.4), (-0.3, -0.6), (-0.12, -0.5), (-0.13, 0.0)], 0.018, 0.8)]
    middle = -0.43 if is_lateral else 0.0
    return [
        _bend([(middle - 0.03, h), (middle, h + 0.02), (middle + 0.03, h - 0.01)], 0.016, 1.0)
        for h in np.linspace(-0.4, 0.25, 6)
    ]


def _electrodes(w: list[float], is_lateral: bool) -> list[Line]:
    """Round pads with wires that leave the film."""
    lines: list[Line] = []
    turn = np.linspace(0, 2 * np.pi, 12)
    for k, (px, py) in enumerate([(-0.52, -0.42), (0.55, -0.45), (0.58, 0.33), (-0.55, 0.36)]):
        cx, cy = px + 3 * w[8 + k], py + 3 * w[14 + k]
        lines.append((np.stack([cx + 0.022 * np.cos(turn), cy + 0.022 * np.sin(turn)], 1), 0.03, 1.0))
        side = 1.0 if is_lateral or px > 0 else -1.0
        lines.append(
            _bend(
                [(cx, cy), (cx + side * 0.2, cy + 0.1 + 4 * w[20 + k]), (side * 0.85, 0.7), (side * 1.0, 1.3)],
                0.012,
                0.55,
            )
        )
    return lines


def _add_box(chest: Chest, kind: str) -> None:
    """Add the can of a pacemaker or the chamber of a port."""
    front_x = (0.56, -0.42) if kind == "pacemaker" else (-0.46, -0.36)
    cx, cy = (-0.55, -0.38) if chest.is_lateral else front_x
    size = 0.12 if kind == "pacemaker" else 0.05
    depth = ellipse(chest.canvas, cx, cy, size * (0.35 if chest.is_lateral else 1.0), size * 0.85)
    chest.metal += np.float32(0.3) * soft(depth, 0.012) + np.float32(0.12) * bump(depth - np.float32(0.012), 0.014)
