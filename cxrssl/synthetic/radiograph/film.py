"""One film: layers of attenuation become 8-bit grey with scatter, noise, a film curve and burned-in marks.

In: a key and the findings to draw. Out: uint8 [height, width]. Never: a draw that depends on another film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.radiograph.anatomy import Body, Chest, Pose, Signs, draw_body, draw_pose
from cxrssl.synthetic.radiograph.canvas import Field, blurred, cloud, make_canvas, turn
from cxrssl.synthetic.radiograph.devices import add_devices
from cxrssl.synthetic.radiograph.frontal import draw_frontal
from cxrssl.synthetic.radiograph.lateral import draw_lateral
from cxrssl.synthetic.radiograph.lesions import add_lesions

AIR_LOSS = 0.42
"""Attenuation that a lung full of air takes off the ray."""

LASTING = ("Lung Lesion", "Pleural Other")
"""Findings that look alike in all studies of a patient; the others are new in each study."""


@dataclass(frozen=True)
class FilmKey:
    """What a film is drawn from besides its findings."""

    seed: int
    subject_id: int
    study_id: int
    film_index: int
    sex: str
    age_y: int
    view: str
    """PA, AP, LATERAL or LL."""
    is_recumbent: bool
    height: int
    width: int


def draw_film(key: FilmKey, signs: Signs) -> npt.NDArray[np.uint8]:
    """Return the film [height, width]: the same key with another finding is the same chest with that finding."""
    body_seed = int(stream(key.seed, "person", key.subject_id).integers(2**62))
    body = draw_body(body_seed, key.sex, key.age_y)
    rng = stream(key.seed, "film", key.subject_id, key.study_id, key.film_index)
    pose = draw_pose(rng, key.view, key.is_recumbent)
    canvas = make_canvas(key.height, key.width, pose.zoom, pose.shift)
    draw_chest = draw_lateral if key.view in ("LATERAL", "LL") else draw_frontal
    chest = draw_chest(canvas, body, pose, signs)
    add_lesions(
        chest,
        pose,
        signs,
        lambda finding: stream(key.seed, finding, key.subject_id, key.study_id * (finding not in LASTING)),
    )
    if "Support Devices" in signs:
        add_devices(chest, pose, signs["Support Devices"], stream(key.seed, "devices", key.subject_id, key.study_id))
    return _mark(_develop(chest, body, pose, key.height, key.width, rng), pose, chest.is_lateral, rng)


def _develop(chest: Chest, body: Body, pose: Pose, height: int, width: int, rng: np.random.Generator) -> Field:
    """Return grey in [0, 1]; dense is bright."""
    ray = chest.dense
    ray += chest.vessels
    ray -= np.float32(AIR_LOSS) * chest.air * np.clip(ray * np.float32(1.5), 0, 1)
    np.clip(ray, 0, None, out=ray)
    ray += chest.bone
    ray *= 1 + np.float32(0.012) * cloud(rng, chest.canvas, 0.06)
    haze = np.float32(0.2 + 0.05 * body.size + 0.06 * pose.is_ap)
    ray = ray * (1 - haze) + blurred(ray, 16) * haze
    ray += chest.metal
    ray = turn(ray, pose.turn_rad, height, width)
    ray = ray + np.float32(pose.noise) * rng.standard_normal(ray.shape, dtype=np.float32)
    gain = np.float32(1.12 * pose.contrast)
    return _grey_curve(ray * gain + np.float32(0.5 + pose.exposure) - np.float32(0.5) * gain)


def _grey_curve(ray: Field) -> Field:
    """Straight in the middle, bent at both ends as film is: never quite black or white."""
    at = np.linspace(-0.5, 2.5, 1024)
    high = 0.7 + 0.28 * np.tanh((at - 0.7) * 2.6)
    low = 0.22 + 0.2 * np.tanh((at - 0.22) * 5)
    table = np.where(at > 0.7, high, np.where(at < 0.22, low, at)).astype(np.float32)
    steps = np.clip((ray + np.float32(0.5)) * np.float32(1023 / 3), 0, 1023).astype(np.intp)
    grey: Field = table.take(steps)
    return grey


def _mark(grey: Field, pose: Pose, is_lateral: bool, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Burn in the side letter and, on some portable films, the word."""
    film = Image.fromarray((grey * np.float32(255)).astype(np.uint8))
    width, height = film.size
    pen, short = ImageDraw.Draw(film), min(width, height)
    is_left = bool(rng.random() < 0.7)
    place = (width * (0.93 if is_left else 0.05) + short * rng.normal(0, 0.01), height * rng.uniform(0.04, 0.12))
    pen.text(place, "L" if is_left or is_lateral else "R", fill=245, font=ImageFont.load_default(short * 0.055))
    if pose.is_labelled:
        place = (width * rng.uniform(0.02, 0.05), height * rng.uniform(0.28, 0.34))
        pen.text(place, "PORTABLE", fill=235, font=ImageFont.load_default(short * 0.03))
    return np.asarray(film)
