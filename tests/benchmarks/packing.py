"""Packing beside plain Pillow (open, grey, resize, write) and beside its decoding alone, on one core and in turns.

Ours also checks paths, headers and ends, letterboxes, hashes, keeps records, and forces the shard to the disk. In the
end a whole `pack_images` on all cores, with the start of its workers.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrssl.images.pack import pack_images
from cxrssl.images.plan import BATCH_FILMS
from cxrssl.images.shard import create_shard, finish_shard
from cxrssl.images.worker import WORKER_ENVIRONMENT, Batch, run_batches

SIZE_PX = 320
NUM_TURNS = 7
SOURCES = (("512 x 512", 512, 512, 64, 320), ("2,500 x 3,000", 3000, 2500, 4, 16))
"""Name, rows, columns, files, films of a turn."""
NUM_AT_ONCE = 2000


def draw_jpegs(folder: Path, rows: int, columns: int, num_files: int) -> list[str]:
    """Lungs, ribs and grain, compressed to about 0.2 bytes a pixel, as MIMIC-CXR-JPG is."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    names = []
    for seed in range(num_files):
        rng = np.random.default_rng(seed)
        lungs = sum(np.exp(-(((x - c) / 0.16) ** 2) - ((y - 0.45) / 0.3) ** 2) for c in rng.normal((0.3, 0.7), 0.02))
        ribs = np.cos(60 * (y + 0.4 * (x - 0.5) ** 2 + rng.uniform()))
        grey = 190 - 110 * lungs + 12 * ribs + rng.normal(0, 3, (rows, columns))
        names.append(f"{rows}-{seed}.jpg")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / names[-1], quality=92)
    return names


def pack_plainly(folder: Path, names: list[str]) -> None:
    with open(folder / "plain.npy", "wb") as out:
        for name in names:
            with Image.open(folder / name) as image:
                square = image.convert("L").resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
                out.write(np.asarray(square).tobytes())


def decode_alone(folder: Path, names: list[str]) -> None:
    for name in names:
        with Image.open(folder / name) as image:
            image.load()


def pack_with_us(folder: Path, names: list[str]) -> None:
    shard = create_shard(folder, 0)
    spans = [(first, tuple(names[first : first + BATCH_FILMS])) for first in range(0, len(names), BATCH_FILMS)]
    batches = [Batch(0, shard, first, first, paths, folder, SIZE_PX) for first, paths in spans]
    films = np.concatenate([records for _, records in run_batches(batches, num_workers=0)])
    assert (films["rule"] < 0).all()
    finish_shard(shard, folder, 0, films, SIZE_PX)


def seconds(pack: Callable[..., object], *arguments: Any) -> tuple[float, float]:
    """Return wall and CPU time."""
    started, cpu = time.perf_counter(), time.process_time()
    pack(*arguments)
    return time.perf_counter() - started, time.process_time() - cpu


def compare(folder: Path, shown: str, names: list[str]) -> None:
    contenders = {"ours": pack_with_us, "plain Pillow": pack_plainly, "decoding alone": decode_alone}
    for pack in contenders.values():
        pack(folder, names)
    times = np.array([[seconds(pack, folder, names) for pack in contenders.values()] for _ in range(NUM_TURNS)])
    print(f"packing {shown} JPEGs on one core, films/s by the clock (by CPU time, ratio to ours by CPU time):")
    rates = len(names) / np.median(times, 0)
    for number, name in enumerate(contenders):
        wall, cpu = rates[number]
        ratio = np.median(times[:, number, 1] / times[:, 0, 1])
        print(f"  {name:<16}{wall:>8,.0f} ({cpu:,.0f}, {ratio:.2f})")


def main() -> None:
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        for shown, rows, columns, num_files, num_films in SOURCES:
            names = draw_jpegs(folder, rows, columns, num_files)
            mean_bytes = np.mean([(folder / name).stat().st_size for name in names])
            compare(
                folder, f"{shown} ({mean_bytes / rows / columns:.2f} bytes a pixel)", names * (num_films // num_files)
            )
        paths = [f"512-{k % SOURCES[0][3]}.jpg" for k in range(NUM_AT_ONCE)]
        ids = [str(k) for k in range(NUM_AT_ONCE)]
        summary = pack_images(folder / "packed", folder, ids, paths, size_px=SIZE_PX, cohort_sha256="")
        num_cores = len(os.sched_getaffinity(0))
        print(f"packing {NUM_AT_ONCE:,} films at once on {num_cores} cores: {summary.images_per_s:,.0f} films/s")


if __name__ == "__main__":
    if not WORKER_ENVIRONMENT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})
    main()
