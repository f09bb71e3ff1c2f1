"""Films that mean harm, decoded in a process of their own: `python hostile.py mutants|names FOLDER SEED COUNT`.

Prints one JSON object. A crash shows as the exit code of the process, a gigabyte too much as a MemoryError.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrssl.core.errors import DecodeError
from cxrssl.images.decode import DECODE_RULES, decode_letterboxed
from cxrssl.images.shard import PACKED
from cxrssl.images.worker import Batch, pack_batch

SIZE_PX = 64
GIB = 2**30


def draw_seeds() -> list[tuple[str, bytes]]:
    """Return a film in every kind of file that is read."""
    y, x = np.mgrid[0:150, 0:210]
    grey = (127 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(np.uint8)
    image = Image.fromarray(grey)
    seeds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True, "quality": 95}),
        (image.convert("RGB"), "JPEG", {"optimize": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "PNG", {}),
        (Image.fromarray(grey.astype(np.uint16) * 257), "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (image.quantize(32), "PNG", {"transparency": 3}),
        (image.convert("1"), "PNG", {}),
    ]
    written = []
    for picture, kind, options in seeds:
        path = Path(f"seed.{kind.lower()}")
        picture.save(path, kind, **options)
        written.append((kind, path.read_bytes()))
        path.unlink()
    return written


def mutate(kind: str, data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with bits flipped, bytes overwritten, copied, cut out, cut off or put in, or of another size.

    Half of the damaged PNGs get right checksums, so that the damage reaches the decoder.
    """
    mutant = bytearray(data)
    place, other = (int(at) for at in rng.integers(len(data), size=2))
    span = int(rng.integers(1, 64))
    match int(rng.integers(8)):
        case 0:
            for at in rng.integers(0, len(data), int(rng.integers(1, 9))):
                mutant[at] ^= 1 << int(rng.integers(8))
        case 1:
            mutant[place : place + span] = rng.bytes(span)
        case 2:
            mutant[place : place + span] = mutant[other : other + span]
        case 3:
            del mutant[place : place + span]
        case 4:
            del mutant[place:]
        case 5:
            mutant[place:place] = rng.bytes(span)
        case 6:
            put_segment_in(kind, mutant, rng)
        case _:
            declare_size(kind, mutant, *(int(2 ** rng.uniform(0, 16)) for _ in range(2)))
    if kind == "PNG" and rng.random() < 0.5:
        mend_checksums(mutant)
    return bytes(mutant)


CHUNKS = [b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"gAMA", b"pHYs", b"cHRM", b"sBIT", b"acTL", b"fcTL", b"eXIf"]
MARKERS = [*range(0xE0, 0xF0), 0xDB, 0xC4, 0xDA, 0xDD, 0xC0, 0xC2, 0xFE]
BODIES = [
    b"",
    b"\0",
    b"JFIF\0",
    b"Exif\0\0II*\0",
    b"ICC_PROFILE\0",
    b"Photoshop 3.0\0",
    b"Adobe\0",
    b"MPF\0MM\0*",
    b"n\0\0",
]


def put_segment_in(kind: str, data: bytearray, rng: np.random.Generator) -> None:
    """Put in a chunk or segment with a known name, a right length and senseless content, as early as may be."""
    body = BODIES[rng.integers(len(BODIES))] + rng.bytes(int(rng.integers(0, 40)))
    if kind == "PNG":
        name = CHUNKS[rng.integers(len(CHUNKS))]
        data[33:33] = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    else:
        marker = MARKERS[rng.integers(len(MARKERS))]
        data[2:2] = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def declare_size(kind: str, data: bytearray, rows: int, columns: int) -> None:
    if kind == "PNG":
        data[16:24] = struct.pack(">II", columns, rows)
    else:
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[frame + 5 : frame + 9] = struct.pack(">HH", min(rows, 65535), min(columns, 65535))


def mend_checksums(data: bytearray) -> None:
    start = 8
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            return
        data[end - 4 : end] = zlib.crc32(data[start + 4 : end - 4]).to_bytes(4, "big")
        start = end


def decode_mutants(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Pack mutants one by one; those that take longer than a second, or decode to another shape, are kept and named."""
    seeds, rng = draw_seeds(), np.random.default_rng(seed)
    (folder / "shard").touch()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB, used + GIB))
    outcomes: Counter[str] = Counter()
    slow, slowest_s = [], 0.0
    for num in range(count):
        kind, data = seeds[num % len(seeds)]
        mutant = mutate(kind, data, rng)
        (folder / "mutant").write_bytes(mutant)
        started = time.process_time()
        record = pack_batch(Batch(0, folder / "shard", 0, 0, ("mutant",), folder, SIZE_PX))[0]
        took_s = time.process_time() - started
        slowest_s = max(slowest_s, took_s)
        if took_s > 1:
            (folder / f"slow-{num}").write_bytes(mutant)
            slow.append(f"slow-{num}")
        outcomes["packed" if record["rule"] == PACKED else DECODE_RULES[record["rule"]]] += 1
    return {"outcomes": outcomes, "slow": slow, "slowest_s": slowest_s}


PIECES = ["..", ".", "", "/", "\\", "C:", "\0", "a", "\u2025", "\uff0e\uff0e", "\u202e", "\ud800", "~", "$HOME"]
PIECES += ["%2e%2e", "\x1b[31m", "CON", "x" * 4000, "link", "loop", "up", "dangling", "pipe", "null", "inside"]
PIECES += ["film.png", "secret.png", "inside/film.png"]


def open_names(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Ask for films by hostile names; return every path outside the dataset folder that was opened."""
    root, rng = folder / "data", np.random.default_rng(seed)
    (root / "inside").mkdir(parents=True)
    Image.new("L", (20, 20)).save(folder / "secret.png")
    Image.new("L", (20, 20)).save(root / "inside/film.png")
    os.mkfifo(root / "pipe")
    (root / "null").symlink_to("/dev/null")
    (root / "secret.png").symlink_to(folder / "secret.png")
    (root / "inside/secret.png").symlink_to(folder / "secret.png")
    (root / "inside/link").symlink_to(folder)
    (root / "up").symlink_to("..")
    (root / "link").symlink_to("/")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to(folder / "absent")
    decode_letterboxed(Path("inside/film.png"), root, SIZE_PX)  # Pillow loads its readers
    opened: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(arguments[0], int):
            opened.append(os.fsdecode(arguments[0]))

    sys.addaudithook(watch)
    outcomes: Counter[str] = Counter()
    outside = []
    for _ in range(count):
        pieces = [PIECES[k] for k in rng.integers(len(PIECES), size=int(rng.integers(1, 6)))]
        name = "/".join(pieces) if rng.random() < 0.7 else str(folder / "secret.png") + "/".join(pieces[1:])
        opened.clear()
        try:
            decode_letterboxed(Path(name), root, SIZE_PX)
            outcomes["decoded"] += 1
        except DecodeError as error:
            outcomes[error.rule] += 1
        outside += [path[:200] for path in opened if not Path(os.path.realpath(path)).is_relative_to(root.resolve())]
    return {"outcomes": outcomes, "outside": outside}


if __name__ == "__main__":
    _, task, where, first_seed, how_many = sys.argv
    run = {"mutants": decode_mutants, "names": open_names}[task]
    os.chdir(where)
    sys.stdout.write(json.dumps(run(Path(where), int(first_seed), int(how_many))))
