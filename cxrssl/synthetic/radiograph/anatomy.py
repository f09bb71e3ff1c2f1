"""A patient's build, which all of their films share, and the pose of one film.

In: sex, age, view and a random stream. Out: plain numbers in body units, read by `frontal` and `lateral`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.radiograph.canvas import Canvas, Field

Signs = Mapping[str, float]
"""Findings to draw: finding -> severity in (0, 1]."""


@dataclass(frozen=True)
class Body:
    """A patient's build at one age."""

    seed: int
    """Key of everything that is the patient's own: vessel tree, rib irregularities."""
    age_y: int
    size: float
    """Corpulence: -1 thin, 0 average, 2 very heavy."""
    half_width: float
    """Greatest half width of the lungs."""
    lung_top: float
    """Height of the lung apex (y)."""
    heart: float
    """Scale of the heart."""
    heart_turn_rad: float
    middle: float
    """Natural variation of the width of the upper mediastinum."""
    knob: float
    """Radius of the aortic arch."""
    is_calcified: bool
    breast: float
    """Size of the breast shadow; 0 in men."""
    bone: float
    """Bone density; 1 in the young."""
    rib_gap: float
    rib_phase: float
    dome_lift: float
    """How much higher the right dome is than the left one."""
    has_bubble: bool
    kyphosis: float


@dataclass(frozen=True)
class Pose:
    """How one film was taken."""

    is_ap: bool
    is_recumbent: bool
    zoom: float
    turn_rad: float
    shift: tuple[float, float]
    twist: float
    """Rotation about the long axis: moves the heart and the clavicles sideways."""
    breath: float
    """Inspiration: 1 full, 0 poor."""
    exposure: float
    contrast: float
    noise: float
    is_labelled: bool
    """Whether PORTABLE is burned in."""


@dataclass
class Chest:
    """Layers of a film before development; findings change them in place."""

    canvas: Canvas
    air: Field
    """Share of air on the ray, 0 to 1."""
    dense: Field
    """Attenuation by all but bone, vessels and metal."""
    vessels: Field
    bone: Field
    metal: Field
    lung: Field
    """Mask of the lung fields as the healthy chest has them."""
    wall: Field
    """Depth inside the chest wall: positive in the lung."""
    dome: Field
    """Height above the diaphragm: positive in the lung."""
    is_lateral: bool


def draw_body(seed: int, sex: str, age_y: int) -> Body:
    """Return the build that belongs to `seed`; `age_y` adds the marks of age."""
    rng = stream(seed, "body")
    is_female = sex == "F"
    size = float(np.clip(rng.normal(0.3, 0.7), -1.0, 2.2))
    old = max(0.0, (age_y - 45) / 40)
    return Body(
        seed=seed,
        age_y=age_y,
        size=size,
        half_width=float(rng.normal(0.715 - 0.04 * is_female, 0.025)),
        lung_top=float(rng.normal(-0.76 + 0.03 * is_female, 0.03)),
        heart=float(rng.normal(0.98 + 0.05 * old, 0.055)),
        heart_turn_rad=float(rng.normal(0.62, 0.10)),
        middle=float(rng.normal(0.006 * size, 0.014)),
        knob=float(rng.normal(0.078 + 0.026 * old, 0.007)),
        is_calcified=bool(rng.random() < 0.65 * old),
        breast=float(np.clip(rng.normal(0.8 + 0.2 * size, 0.25), 0.35, 1.5)) if is_female else 0.0,
        bone=float(np.clip(rng.normal(1.05 - 0.42 * old - 0.12 * old * is_female, 0.08), 0.4, 1.3)),
        rib_gap=float(rng.normal(0.150, 0.006)),
        rib_phase=float(rng.uniform(0, 1)),
        dome_lift=float(rng.normal(0.06, 0.025)),
        has_bubble=bool(rng.random() < 0.55),
        kyphosis=float(np.clip(rng.normal(0.06 + 0.10 * old, 0.04), 0, 0.3)),
    )


def draw_pose(rng: np.random.Generator, view: str, is_recumbent: bool) -> Pose:
    """Return how a film came out; portable (AP) films are more askew, less inspired and flatter."""
    is_ap = view == "AP"
    wobble = 1.6 if is_ap else 1.0
    return Pose(
        is_ap=is_ap,
        is_recumbent=is_recumbent,
        zoom=float(rng.normal(1.04, 0.035) * (0.97 if is_ap else 1.0)),
        turn_rad=float(np.radians(np.clip(rng.normal(0, 1.6 * wobble), -6, 6))),
        shift=(float(rng.normal(0, 0.03 * wobble)), float(rng.normal(0.02, 0.03 * wobble))),
        twist=float(rng.normal(0, 0.018 * wobble)),
        breath=float(np.clip(rng.normal(0.45 if is_recumbent else 0.85, 0.2), 0, 1.2)),
        exposure=float(rng.normal(0, 0.05)),
        contrast=float(np.clip(rng.normal(0.93 if is_ap else 1.05, 0.08), 0.7, 1.3)),
        noise=float(rng.uniform(0.006, 0.014) * (1.3 if is_ap else 1.0)),
        is_labelled=bool(rng.random() < (0.6 if is_ap else 0.0)),
    )
