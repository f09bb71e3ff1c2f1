"""decode_film: every mode and depth, every way to be wrong."""

from __future__ import annotations

import os
import re
import struct
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.core.errors import DecodeError
from cxrssl.core.filmfile import MAX_FILE_BYTES
from cxrssl.images.decode import DECODE_RULES, decode_film
from cxrssl.images.png import PASSES

ROOT = Path(__file__).resolve().parents[2]
NIH = ROOT.parent / "shared/data/nih_chestxray14"
COVID = ROOT.parent / "shared/data/covid19_cxr"
NUM_MUTANTS = 200
HEIGHT, WIDTH = 40, 56


def grey_ramp() -> np.ndarray:
    return np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8)


def rule_of(path: str, root: Path) -> str:
    with pytest.raises(DecodeError) as caught:
        decode_film(Path(path), root)
    assert caught.value.rule in DECODE_RULES
    assert caught.value.where == path
    return caught.value.rule


def save(image: Image.Image, path: Path, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return decode_film(Path(path.name), path.parent)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


def test_rules_are_a_closed_set_of_at_most_twelve() -> None:
    assert len(set(DECODE_RULES)) == len(DECODE_RULES) <= 12


def test_grey_png_comes_back_as_stored(tmp_path: Path) -> None:
    film = save(Image.fromarray(grey_ramp()), tmp_path / "a.png")
    assert film.dtype == np.uint8
    assert film.flags.writeable
    np.testing.assert_array_equal(film, grey_ramp())


def test_grey_jpeg_comes_back_within_its_compression(tmp_path: Path) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = (x * 2 + y * 2).astype(np.uint8)
    film = save(Image.fromarray(smooth), tmp_path / "a.jpg", quality=95)
    assert np.abs(film.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_stored_as_colour_is_the_same_grey(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(grey_ramp())
    film = save(image.quantize(256) if mode == "P" else image.convert(mode), tmp_path / "a.png")
    np.testing.assert_array_equal(film, grey_ramp())


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = grey_ramp() > 127
    film = save(Image.fromarray(bits), tmp_path / "a.png")
    np.testing.assert_array_equal(film, np.where(bits, 255, 0))


def test_sixteen_bits_are_scaled_by_the_full_range_with_rounding(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    wide[0, :6] = [0, 128, 129, 32767, 65406, 65535]
    film = save(Image.fromarray(wide), tmp_path / "a.png")
    np.testing.assert_array_equal(film, np.floor(wide / 257 + 0.5).astype(np.uint8))
    assert film[0, :6].tolist() == [0, 0, 1, 127, 254, 255]


@pytest.mark.parametrize("bits", [10, 12, 15])
def test_sixteen_bit_png_that_declares_fewer_bits_is_scaled_by_what_it_uses(tmp_path: Path, bits: int) -> None:
    """Filled up to 16 bits, as PNG asks for, they use the full range."""
    white = 2**bits - 1
    samples = np.linspace(0, white, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    expected = np.floor(samples / white * 255 + 0.5).astype(np.uint8)
    save(Image.fromarray(samples), tmp_path / "a.png")
    np.testing.assert_array_equal(declare_bits(tmp_path / "a.png", bits), expected)
    filled = (samples << (16 - bits)) | (samples >> (2 * bits - 16))
    save(Image.fromarray(filled), tmp_path / "b.png")
    assert np.abs(declare_bits(tmp_path / "b.png", bits).astype(int) - expected).max() <= 1


def test_declared_bits_after_the_pixels_or_out_of_range_mean_nothing(tmp_path: Path) -> None:
    samples = np.full((HEIGHT, WIDTH), 100, np.uint16)
    plain = save(Image.fromarray(samples), tmp_path / "a.png")
    for bits in (0, 17, 255):
        save(Image.fromarray(samples), tmp_path / "a.png")
        np.testing.assert_array_equal(declare_bits(tmp_path / "a.png", bits), plain)


def declare_bits(path: Path, bits: int) -> np.ndarray:
    data = path.read_bytes()
    path.write_bytes(data[:33] + png_chunk(b"sBIT", bytes([bits])) + data[33:])
    return decode_film(Path(path.name), path.parent)


def test_colour_becomes_luma(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    film = save(Image.fromarray(pixels), tmp_path / "a.png")
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(film - luma).max() <= 0.51


def test_palette_colours_become_luma(tmp_path: Path) -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert set(save(image, tmp_path / "a.png").ravel().tolist()) == {round(200 * 0.299 + 100 * 0.587 + 50 * 0.114)}


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_flattened_on_black(tmp_path: Path, mode: str) -> None:
    alpha = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    image = Image.fromarray(grey_ramp()).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    film = save(image, tmp_path / "a.png")
    assert np.abs(film - grey_ramp() * (alpha / 255)).max() <= 0.51


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_transparent_colour_is_flattened_on_black(tmp_path: Path, mode: str) -> None:
    pixels = np.full((HEIGHT, WIDTH), 100, np.uint8)
    pixels[:5] = 7
    image = Image.fromarray(pixels).convert(mode, palette=Image.Palette.ADAPTIVE)
    key: object = image.getpixel((0, 0))
    film = save(image, tmp_path / "a.png", transparency=key)
    assert set(film[:5].ravel().tolist()) == {0}
    assert set(film[5:].ravel().tolist()) == {100}


def test_cmyk_jpeg_is_bright_where_there_is_no_ink(tmp_path: Path) -> None:
    image = Image.new("CMYK", (WIDTH, HEIGHT), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, HEIGHT))
    film = save(image, tmp_path / "a.jpg", quality=95)
    assert film[:, 32:].min() >= 250
    assert film[:, :8].max() <= 5


def test_real_nih_and_covid_originals_decode_to_their_declared_shape() -> None:
    if not NIH.is_dir() or not COVID.is_dir():
        pytest.skip("the real films are not here")
    modes = set()
    for folder in (NIH / "originals_1024", COVID / "originals_sample"):
        for path in sorted(folder.iterdir())[:5]:
            with Image.open(path) as image:
                columns, rows = image.size
                modes.add(image.mode)
            film = decode_film(Path(path.name), folder)
            assert film.shape == (rows, columns)
            assert film.std() > 20
    assert {"L", "RGB", "RGBA"} <= modes


def test_nih_original_with_alpha_equals_its_colour_channels() -> None:
    path = NIH / "originals_1024/00000773_001.png"
    if not path.is_file():
        pytest.skip("the real films are not here")
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        channels = np.asarray(image)
    assert (channels[..., 3] == 255).all()
    np.testing.assert_array_equal(decode_film(Path(path.name), path.parent), channels[..., 0])


def test_missing_file_directory_and_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert rule_of("absent.png", tmp_path) == "file missing"
    assert rule_of("folder/absent/a.png", tmp_path) == "file missing"
    assert rule_of("pipe.png/a.png", tmp_path) == "file missing"
    assert rule_of("folder", tmp_path) == "unreadable"
    assert rule_of("pipe.png", tmp_path) == "unreadable"
    assert rule_of("loop.png", tmp_path) == "unreadable"
    assert rule_of("x" * 300, tmp_path) == "unreadable"


def test_path_with_a_zero_byte_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_film(Path("a\0b.png"), tmp_path)
    assert caught.value.rule == "file missing"
    assert "\0" not in str(caught.value)


def test_paths_that_leave_the_dataset_folder_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "in").mkdir(parents=True)
    Image.fromarray(grey_ramp()).save(tmp_path / "secret.png")
    Image.fromarray(grey_ramp()).save(root / "in/film.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "link").symlink_to(tmp_path)
    (root / "inner.png").symlink_to("in/film.png")
    rule = "outside the dataset folder"
    assert rule_of("../secret.png", root) == rule
    assert rule_of("in/../in/film.png", root) == rule
    assert rule_of(str(tmp_path / "secret.png"), root) == rule
    assert rule_of(str(root / "in/film.png"), root) == rule
    assert rule_of("link.png", root) == rule
    assert rule_of("link/secret.png", root) == rule
    assert decode_film(Path("inner.png"), root).shape == (HEIGHT, WIDTH)


def test_link_in_the_dataset_folder_may_lead_to_a_folder_elsewhere_and_no_further(tmp_path: Path) -> None:
    """As groups link `files` to another disk."""
    root, disk = tmp_path / "data", tmp_path / "disk/files"
    root.mkdir()
    (disk / "p10").mkdir(parents=True)
    Image.fromarray(grey_ramp()).save(disk / "p10/film.png")
    Image.fromarray(grey_ramp()).save(tmp_path / "disk/secret.png")
    (root / "files").symlink_to(disk)
    (disk / "inner").symlink_to("p10")
    (disk / "outer").symlink_to("..")
    (disk / "p10/secret.png").symlink_to(tmp_path / "disk/secret.png")
    assert decode_film(Path("files/p10/film.png"), root).shape == (HEIGHT, WIDTH)
    assert decode_film(Path("files/inner/film.png"), root).shape == (HEIGHT, WIDTH)
    rule = "outside the dataset folder"
    assert rule_of("files/outer/secret.png", root) == rule
    assert rule_of("files/p10/secret.png", root) == rule
    (root / "all").symlink_to(tmp_path)
    assert rule_of("all/disk/secret.png", root) == rule
    (root / "deeper").mkdir()
    (root / "deeper/files").symlink_to(disk)
    assert rule_of("deeper/files/p10/film.png", root) == rule


def test_dataset_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    Image.fromarray(grey_ramp()).save(tmp_path / "disk/film.png")
    (tmp_path / "data").symlink_to("disk")
    assert decode_film(Path("film.png"), tmp_path / "data").shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused_whatever_their_name(tmp_path: Path, kind: str) -> None:
    Image.fromarray(grey_ramp()).save(tmp_path / "film.png", kind)
    assert rule_of("film.png", tmp_path) == "not a JPEG, PNG or DICOM"


@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
def test_every_cut_of_a_film_is_truncated(tmp_path: Path, name: str) -> None:
    Image.fromarray(grey_ramp()).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for length in [*range(30), *range(30, len(data) - 40, 37), *range(len(data) - 40, len(data))]:
        (tmp_path / name).write_bytes(data[:length])
        assert rule_of(name, tmp_path) == "truncated", length


def test_film_with_bytes_after_its_end_is_read(tmp_path: Path) -> None:
    for name in ("film.png", "film.jpg"):
        Image.fromarray(grey_ramp()).save(tmp_path / name)
        whole = decode_film(Path(name), tmp_path)
        with open(tmp_path / name, "ab") as file:
            file.write(b"\0" * 5000)
        np.testing.assert_array_equal(decode_film(Path(name), tmp_path), whole)


def test_small_film_is_refused_and_sixteen_pixels_are_enough(tmp_path: Path) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "enough.png")
    Image.new("L", (15, 900)).save(tmp_path / "narrow.png")
    assert decode_film(Path("enough.png"), tmp_path).shape == (16, 16)
    assert rule_of("narrow.png", tmp_path) == "too small"


@pytest.mark.parametrize("side", [8001, 9_000, 13_000, 60_000, 2**31 - 1])
def test_png_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        assert rule_of("bomb.png", tmp_path) == "too large"
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 2 * 1024**2


@pytest.mark.parametrize(
    ("width", "height", "bits"),
    [
        (WIDTH, 8000, 8),
        (WIDTH, HEIGHT + 1, 8),
        (WIDTH, HEIGHT - 1, 8),
        (WIDTH // 2, HEIGHT // 2, 16),
        (8000, HEIGHT, 8),
    ],
)
def test_png_whose_header_declares_another_size_than_its_rows_have_is_damaged(
    tmp_path: Path, width: int, height: int, bits: int
) -> None:
    Image.fromarray(grey_ramp()).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(data[:8] + png_chunk(b"IHDR", header) + data[33:])
    assert rule_of("a.png", tmp_path) == "damaged"


def test_interlaced_png_is_read(tmp_path: Path) -> None:
    """Pillow reads them and writes none: its seven passes, rows of filter 0."""
    for rows, columns in ((16, 16), (17, 29)):
        grey = np.random.default_rng(0).integers(0, 256, (rows, columns), dtype=np.uint8)
        passes = [grey[top::down, left::across] for left, top, across, down in PASSES]
        raw = b"".join(b"\0" + row.tobytes() for part in passes for row in part if part.size)
        header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 1)
        chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
        np.testing.assert_array_equal(decode_film(Path("a.png"), tmp_path), grey)


def test_text_bomb_inside_a_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(grey_ramp()).save(tmp_path / "bomb.png")
    data = (tmp_path / "bomb.png").read_bytes()
    text = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"\0" * 50_000_000))
    (tmp_path / "bomb.png").write_bytes(data[:33] + text + data[33:])
    assert rule_of("bomb.png", tmp_path) == "damaged"


def test_bomb_is_refused_before_pixels_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    def load(self: object) -> None:
        raise AssertionError("pixels were loaded")

    Image.fromarray(grey_ramp()).save(tmp_path / "bomb.jpg")
    data = bytearray((tmp_path / "bomb.jpg").read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    (tmp_path / "bomb.jpg").write_bytes(bytes(data))
    (tmp_path / "bomb.png").write_bytes(png_header(8001, 8000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert rule_of("bomb.jpg", tmp_path) == "too large"
    assert rule_of("bomb.png", tmp_path) == "too large"


def test_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "big.png", "wb") as file:
        file.write(png_header(64, 64))
        file.truncate(MAX_FILE_BYTES + 1)
    tracemalloc.start()
    assert rule_of("big.png", tmp_path) == "too large"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to 8 bits, cut a piece out, cut the end off, or insert bytes."""
    mutant = bytearray(data)
    place = int(rng.integers(len(data)))
    match int(rng.integers(4)):
        case 0:
            for at in rng.integers(0, len(data), int(rng.integers(1, 9))):
                mutant[at] ^= 1 << int(rng.integers(8))
        case 1:
            del mutant[place : place + int(rng.integers(1, 64))]
        case 2:
            del mutant[place:]
        case _:
            mutant[place:place] = rng.bytes(int(rng.integers(1, 64)))
    return bytes(mutant)


def test_mutated_films_give_their_declared_shape_or_a_rule(tmp_path: Path) -> None:
    image = Image.fromarray(grey_ramp())
    image.save(tmp_path / "a.png")
    image.convert("RGBA").save(tmp_path / "b.png")
    image.save(tmp_path / "c.jpg")
    image.convert("RGB").save(tmp_path / "d.jpg", progressive=True)
    seeds = [(path.name, path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    rng = np.random.default_rng(20240501)
    outcomes: dict[str, int] = {}
    for num in range(NUM_MUTANTS):
        name, data = seeds[num % len(seeds)]
        mutant = mutate(data, rng)
        (tmp_path / name).write_bytes(mutant)
        started = time.process_time()
        try:
            film = decode_film(Path(name), tmp_path)
        except DecodeError as error:
            outcome = error.rule
        else:
            outcome = "decoded"
            if name.endswith(".png"):
                np.testing.assert_array_equal(film, grey_ramp(), "a damaged PNG that decodes is not damaged in pixels")
            else:
                frame = re.search(rb"\xff[\xc0\xc2]..\x08(....)", mutant, re.DOTALL)
                assert frame
                assert film.shape == struct.unpack(">HH", frame[1])
        assert time.process_time() - started < 1.0, f"mutant {num}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert sum(outcomes.values()) == NUM_MUTANTS
    assert {"truncated", "damaged", "decoded"} <= set(outcomes) <= {*DECODE_RULES, "decoded"}
