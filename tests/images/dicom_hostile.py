"""DICOM films that mean harm, decoded in a process of their own: `python dicom_hostile.py FOLDER SEED FIRST COUNT`.

Decodes mutants FIRST to COUNT under the limits of a worker, a second of processor time each, and appends a line of JSON
for each to FOLDER/outcomes. If the process dies, the mutant after the last line is to blame and lies in FOLDER/mutant.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import UID

from cxrssl.core.errors import DecodeError
from cxrssl.dicom import read_header
from cxrssl.images.decode import decode_film
from cxrssl.images.worker import MAX_WORKER_BYTES
from tests.images import dicom_films as films
from tests.images.dicom_oracle import film_of, make_case

LIMIT_S = 1.0
EXTENDED_FILM = "other_body_part/RG2_JPLY_fixed.dcm"
NESTED = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
VRS = (b"US", b"SS", b"OW", b"OB", b"SQ", b"UN", b"UT", b"DS", b"IS", b"CS", b"UI", b"FD", b"??", b"\0\0")


def draw_seeds(real_data: Path | None) -> list[bytes]:
    """Return a film in every transfer syntax that can be written here, and a real one in JPEG Extended."""
    buffer = io.BytesIO()
    Image.fromarray(films.draw_cells(bits=8)).save(buffer, "JPEG")
    seeds = [films.make_film(films.draw_cells(), syntax) for syntax in (films.EXPLICIT, films.RLE, films.JPEG_LS)]
    seeds += [films.make_film(films.draw_cells(), films.JPEG_2000)]
    seeds += [films.wrap_codestream(buffer.getvalue(), films.BASELINE, Rows=40, Columns=48)]
    seeds += [film_of(make_case(num)) for num in (0, 2, 8, 13)]
    dataset = films.make_dataset(films.draw_cells())
    dataset.file_meta.TransferSyntaxUID = UID(films.IMPLICIT)
    seeds += [films.write_film(dataset)]
    if real_data is not None:
        seeds += [(real_data / EXTENDED_FILM).read_bytes()]
    return seeds


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with some of it changed, most often in its header and in the heads of its codestream."""
    mutant = bytearray(data)
    head = min(len(data) - 70, 1200)
    place = int(rng.integers(132, head if rng.random() < 0.7 else len(data) - 66))
    span = int(rng.integers(1, 64))
    match int(rng.integers(10)):
        case 0:
            for _ in range(int(rng.integers(1, 9))):
                at = int(rng.integers(132, head if rng.random() < 0.5 else len(data)))
                mutant[at] ^= 1 << int(rng.integers(8))
        case 1:
            mutant[place : place + span] = rng.bytes(span)
        case 2:
            other = int(rng.integers(132, len(data)))
            mutant[place : place + span] = mutant[other : other + span]
        case 3:
            del mutant[place : place + span]
        case 4:
            del mutant[int(rng.integers(len(data))) :]
        case 5:
            mutant[place:place] = rng.bytes(span)
        case 6:
            at = find_element(mutant, rng)
            mutant[at + 4 : at + 6] = VRS[int(rng.integers(len(VRS)))]
        case 7:
            at = find_element(mutant, rng)
            length = (0, 1, 0xFFFE, 0xFFFF, int(rng.integers(65536)))[int(rng.integers(5))]
            mutant[at + 6 : at + 8] = struct.pack("<H", length)
        case 8:
            at = find_element(mutant, rng)
            mutant[at + 8 : at + 10] = struct.pack("<H", int(2 ** rng.uniform(0, 16)) % 65536)
        case _:
            mutant = bytearray(change_whole(bytes(mutant), rng))
    return bytes(mutant)


def find_element(data: bytearray, rng: np.random.Generator) -> int:
    """Return where an element of the pixel group (0028) begins, or any even place."""
    at = data.find(b"\x28\x00", int(rng.integers(132, len(data))))
    return at if 0 <= at < len(data) - 16 else int(rng.integers(66, len(data) // 2)) * 2 - 2


def change_whole(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file under another transfer syntax, without frames, or with nested sequences."""
    match int(rng.integers(3)):
        case 0:
            uids = [
                uid.encode().ljust(22, b"\0") for uid in (films.RLE, films.JPEG_LS, films.JPEG_2000, films.BASELINE)
            ]
            at = data.find(b"UI", data.find(b"\x02\x00\x10\x00"))
            length = int.from_bytes(data[at + 2 : at + 4], "little")
            uid = uids[int(rng.integers(len(uids)))]
            return data[: at + 2] + struct.pack("<H", len(uid)) + uid + data[at + 4 + length :]
        case 1:
            at = data.find(b"\x28\x00\x10\x00")
            return data[:at] + b"\x28\x00\x08\x00IS\x02\x000 " + data[at:]
        case _:
            at = data.find(b"\x28\x00\x10\x00")
            return data[:at] + NESTED * int(2 ** rng.uniform(0, 14)) + data[at:]


def declared_shape(data: bytes) -> tuple[int, int]:
    dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    return dataset.Rows, dataset.Columns


def try_mutant(folder: Path, data: bytes) -> dict[str, Any]:
    """Decode the mutant and return its outcome: a rule, or "decoded"."""
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        film_HW = decode_film(Path("mutant"), folder)
        outcome = "decoded"
    except DecodeError as error:
        outcome = error.rule
    took_s = time.process_time() - started
    try:
        read_header(Path("mutant"), folder)
    except DecodeError as error:
        assert error.rule in ("damaged", "not a DICOM file", "unsupported transfer syntax"), error.rule
    signal.setitimer(signal.ITIMER_PROF, 0)
    if outcome == "decoded" and film_HW.shape != declared_shape(data):
        outcome = f"decoded to {film_HW.shape}"
    return {"outcome": outcome, "took_s": took_s}


def main(folder: Path, seed: int, first: int, count: int, real_data: Path | None) -> None:
    seeds = draw_seeds(real_data)
    for data in seeds:  # the first film of a kind loads its codec, which takes longest on a busy machine
        (folder / "mutant").write_bytes(data)
        decode_film(Path("mutant"), folder)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_WORKER_BYTES, MAX_WORKER_BYTES))
    with open(folder / "outcomes", "a", buffering=1) as outcomes:
        for num in range(first, count):
            data = mutate(seeds[num % len(seeds)], np.random.default_rng([seed, num]))
            (folder / "mutant").write_bytes(data)
            outcomes.write(json.dumps(try_mutant(folder, data)) + "\n")


if __name__ == "__main__":
    _, where, *numbers = sys.argv
    first_seed, begin, end = (int(number) for number in numbers[:3])
    main(Path(where), first_seed, begin, end, Path(numbers[3]) if numbers[3:] else None)
