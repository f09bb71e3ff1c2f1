"""A published cohort and its packed films, drawn: what a GPU machine can make with numpy alone.

The real formats through the project's own writers, without DuckDB, Polars, Pillow or pydicom. Films are noise, brighter
below where there is an effusion; their values change no time.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cxrssl.cohort.arrays import Films
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.read import KIND as COHORT_KIND
from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.images.fingerprint import hash_pixels, perceptual_hash
from cxrssl.images.index import make_index, write_index, write_rejects
from cxrssl.images.shard import FILM_DTYPE, PACKED, create_shard, finish_shard, part_name, write_films
from cxrssl.images.store import KIND as IMAGES_KIND

NAME = "drawn"
SHARD_FILMS, CHUNK_FILMS = 4096, 256
FILMS_EACH = 2
VAL_FRAC = 0.1


def draw_workspace(folder: Path, num_films: int = 128, size_px: int = 48, seed: int = 0) -> Workspace:
    """Return a workspace with the cohort `drawn`: two films a subject, nine tenths of the subjects in train."""
    workspace = Workspace(folder / "workspace").create()
    has_effusion = np.random.default_rng(seed).random(num_films) < 0.5
    films = _describe_films(num_films, has_effusion, seed)
    settings = {"name": NAME, "dataset": "nih", "default_split": "official", "link": ""}
    with publish(workspace.cohorts / NAME, COHORT_KIND, settings, {"root": "."}) as building:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{name: each for name, each in vars(films).items() if each is not None})
        write_bytes(building / "films.npz", buffer.getvalue())
        write_bytes(building / "summary.json", json.dumps({}).encode())
    sha256 = open_cohort(workspace.cohorts / NAME, check=False).content_sha256
    about = {"size_px": size_px, "seed": seed, "cohort_sha256": sha256}
    with publish(workspace.images / NAME, IMAGES_KIND, about) as building:
        records = _pack_films(building, has_effusion, size_px, seed)
        write_rejects(building, [])
        write_index(building, make_index(films.image_id.tolist(), records, SHARD_FILMS))
    return workspace


def _pack_films(building: Path, has_effusion: np.ndarray, size_px: int, seed: int) -> np.ndarray:
    """Write the shards and return what is known of each film."""
    records = np.zeros(len(has_effusion), FILM_DTYPE)
    records["rule"], records["box"], records["source_px"] = PACKED, (0, 0, size_px, size_px), (size_px, size_px)
    for shard, first in enumerate(range(0, len(records), SHARD_FILMS)):
        part = records[first : first + SHARD_FILMS]
        temp = create_shard(building, shard)
        with open(temp, "r+b", buffering=0) as file:
            for slot, pixels in _draw_films(has_effusion[first : first + SHARD_FILMS], size_px, [seed, shard]):
                chunk = part[slot : slot + len(pixels)]
                chunk["pixel_hash"] = [hash_pixels(film) for film in pixels]
                chunk["phash"] = perceptual_hash(pixels)
                write_films(file, slot, pixels)
        finish_shard(temp, building, shard, part, size_px)
        (building / part_name(shard)).unlink()
    return records


def _draw_films(has_effusion: np.ndarray, size_px: int, seed: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    draw = np.random.default_rng(seed)
    for slot in range(0, len(has_effusion), CHUNK_FILMS):
        is_bright = has_effusion[slot : slot + CHUNK_FILMS]
        pixels = draw.integers(40, 120, (len(is_bright), size_px, size_px), np.uint8)
        pixels[is_bright, size_px // 2 :] += 100
        yield slot, pixels


def _describe_films(num: int, has_effusion: np.ndarray, seed: int) -> Films:
    draw = np.random.default_rng([seed, num])
    subject = np.arange(num) // FILMS_EACH
    values = np.full((num, len(FEATURE_NAMES)), np.nan, np.float32)
    for name, num_categories in (("sex", 2), ("view", 4), ("position", 2)):
        values[:, FEATURE_NAMES.index(name)] = draw.integers(0, num_categories, num)
    values[:, FEATURE_NAMES.index("age")] = draw.integers(20, 90, num)
    ids, blank = np.array([f"{film:08d}" for film in range(num)]), np.full(num, "")
    num_train = int(subject[-1] * (1 - VAL_FRAC))
    return Films(
        image_id=ids,
        study_id=ids,
        subject_id=np.array([f"{each:07d}" for each in subject]),
        path=ids,
        view=blank,
        position=blank,
        link_status=blank,
        hadm_id=blank,
        stay_id=blank,
        taken_at=blank,
        gap_h=np.full(num, np.nan, np.float32),
        age_is_censored=np.zeros(num, bool),
        split_official=np.where(subject <= num_train, "train", "val"),
        split_hash=blank,
        split_icu=blank,
        split_file=blank,
        feature_names=np.array(FEATURE_NAMES),
        ehr_values=values,
        ehr_known=~np.isnan(values),
        finding_names=np.array(["Effusion"]),
        label_values=has_effusion.astype(np.int8)[:, None],
    )
