"""Decoding here beside another commit, in turns on one core: `python -m tests.benchmarks.decoding BASE`.

Films of 1,024 x 1,024 in every format that is read, and the real ones beside the project if they are there; processor
time a film, and the median of its ratios.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.benchmarks.packing import draw_jpegs
from tests.images.damage import FORMATS, SYNTAXES, File, write_file
from tests.images.dicom_films import BASELINE, make_dataset, write_film

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"
REAL = {
    "real JPEG": "covid19_cxr/images/*.jpg",
    "real PNG": "nih_chestxray14/images/0000[0-2]*.png",
    "real DICOM": "dicom_radiographs/*/RG[23]_[JR][PL]*[LE].dcm",
}
SIZE_PX, NUM_TURNS, LIMIT = 320, 3, 30
TIMER = """
import json, sys, time
from pathlib import Path
from cxrssl.core.errors import DecodeError
from cxrssl.images.decode import decode_letterboxed
times = {}
for name, paths in json.loads(sys.stdin.read()).items():
    for turn in range(2):  # the first one loads a codec
        started = time.process_time()
        for path in paths[: None if turn else 1]:
            decode_letterboxed(Path(path).relative_to("/"), Path("/"), SIZE_PX)
        times[name] = time.process_time() - started
print(json.dumps(times))
""".replace("SIZE_PX", str(SIZE_PX))


def write_films(folder: Path) -> dict[str, list[str]]:
    """Return format -> paths of its films."""
    from PIL import Image

    (folder / "drawn").mkdir()
    grey = np.asarray(Image.open(folder / "drawn" / draw_jpegs(folder / "drawn", 1024, 1024, 1)[0]))
    paths = {}
    for num, format in enumerate(FORMATS):
        path = folder / f"film-{num}"
        file = write_file(grey, format)
        path.write_bytes(wrap(file) if format.startswith("DICOM,") and format != "DICOM, plain" else file.data)
        paths[format] = [str(path)] * 4
    for name, pattern in REAL.items():
        if found := sorted(DATA.glob(pattern))[:LIMIT]:
            paths[name] = [str(path) for path in found]
    return paths


def wrap(file: File) -> bytes:
    cells = np.zeros((2, 2), np.uint8 if file.depth == 8 else np.uint16)
    dataset = make_dataset(cells, Rows=1024, Columns=1024, BitsStored=file.depth)
    dataset.PixelData = encapsulate([file.data])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID({**SYNTAXES, "DICOM, JPEG baseline": BASELINE}[file.format])
    return write_film(dataset)


def measure(tree: Path, paths: dict[str, list[str]]) -> dict[str, float]:
    """Return format -> seconds, decoded by the code of this tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", TIMER]
    done = subprocess.run(words, env=environment, input=json.dumps(paths), capture_output=True, text=True, cwd=tree)
    assert done.returncode == 0, done.stderr[-2000:]
    times: dict[str, float] = json.loads(done.stdout)
    return times


def main(base: str) -> None:
    with tempfile.TemporaryDirectory() as temp:
        tree = Path(temp) / "base"
        tree.mkdir()
        archive = subprocess.run(["git", "archive", base, "cxrssl"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
        paths = write_films(Path(temp))
        started = time.monotonic()
        turns = [(measure(ROOT, paths), measure(tree, paths)) for _ in range(NUM_TURNS)]
    print(f"{SIZE_PX} px, {NUM_TURNS} turns of {time.monotonic() - started:.0f} s in all; ms a film, ratio to {base}:")
    for name, films in paths.items():
        ours, theirs = (np.array([turn[side][name] for turn in turns]) for side in (0, 1))
        ms = [1000 * np.median(each) / len(films) for each in (ours, theirs)]
        print(f"  {name:<24}{ms[0]:>8.1f}{ms[1]:>8.1f}{np.median(ours / theirs):>8.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
