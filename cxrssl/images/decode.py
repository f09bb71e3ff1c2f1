"""One film from a file: decoded, made grey, resized and padded.

In: a path inside the dataset folder, to a JPEG, PNG or DICOM file. Out: uint8. A film that cannot be decoded is a
DecodeError with one of DECODE_RULES, never another exception. The only importer of PIL.
Never: pixels allocated before the header is checked, half a film, a path that leaves the dataset folder.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, features

from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.core.filmfile import MAX_FILE_BYTES, FilmFile, FilmFolder, read_film, refuse
from cxrssl.core.filmnote import Note
from cxrssl.core.text import plain
from cxrssl.dicom import check_radiograph, codec_versions, decode_jpeg, decode_noted, is_dicom, open_film
from cxrssl.dicom.jpeg import Colour
from cxrssl.images.depth import narrow
from cxrssl.images.look import look_at
from cxrssl.images.png import START as PNG_START
from cxrssl.images.png import find_fault
from cxrssl.images.resize import resize

Grey: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""
Rule = Literal[
    "file missing",
    "unreadable",
    "outside the dataset folder",
    "not a JPEG, PNG or DICOM",
    "truncated",
    "damaged",
    "too large",
    "too small",
    "unsupported pixel format",
    "unsupported transfer syntax",
    "not CR or DX",
    "the decoder died",
]
DECODE_RULES: tuple[Rule, ...] = get_args(Rule)

PIPELINE_VERSION = 3
"""Decode, grey (for DICOM in the order of `dicom.grey`), resize, pad. Raise it when a step changes a pixel, or
when more films are refused: films are then packed again."""
DECODER = ", ".join(f"{name} {features.version(name)}" for name in ("pil", "libjpeg_turbo", "zlib"))
DECODER += f", {codec_versions()}"
"""What a film's pixels depend on besides this file."""

MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 16
# A large JPEG is decoded at 1/2, 1/4 or 1/8 if its sides are still this many times the final ones. Measured on original
# films: on average within 0.2 grey levels of a full decode, and up to five times faster.
DRAFT_GAP = 2
JPEG_COLOURS: dict[str, Colour] = {"L": "GRAY", "RGB": "RGB"}
"""Pillow's mode -> what a JPEG is decoded to."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


class Letterboxed(NamedTuple):
    """A film as it is packed."""

    pixels_SS: Grey
    box: Box
    source_px: tuple[int, int]
    """Rows and columns of the file."""
    note: Note


class Choices(NamedTuple):
    """What the user decides where files do not say it, or contradict themselves."""

    by_shape: bool = False
    """DICOM: PresentationLUTShape decides on polarity, not PhotometricInterpretation."""
    png_bits: int = 0
    """The true depth of PNGs of 16 bits; 0: as each film shows."""


NO_CHOICES = Choices()


class _Picture(NamedTuple):
    grey: Grey
    source_px: tuple[int, int]
    scale: int
    """How many source pixels make a pixel of `grey`, each way."""
    note: Note = Note(0)


def decode_film(path: Path, root: Path | FilmFolder) -> Grey:
    """Return the film at `path`, relative to `root`, as uint8 [H, W]; in DICOM dense tissue is bright, else as stored.

    Colour becomes ITU-R 601-2 luma, alpha is flattened on black, 16 bits become 8 by the film's true depth
    (`images.depth`). EXIF orientation, gamma and colour profiles are not applied; of an animation the first frame is
    taken.

    Raises: DecodeError.
    """
    where = plain(path)
    return np.array(_decode(read_film(path, root, where), 0, where, NO_CHOICES).grey)  # what Pillow gives is read-only


def decode_letterboxed(path: Path, root: Path | FilmFolder, size_px: int, choices: Choices = NO_CHOICES) -> Letterboxed:
    """Return `letterbox(decode_film(path, root), size_px)`, with large JPEGs decoded at a lower resolution.

    Raises: DecodeError.
    """
    where = plain(path)
    return letterbox_film(read_film(path, root, where), size_px, where, choices)


def letterbox_film(film: FilmFile, size_px: int, where: str, choices: Choices = NO_CHOICES) -> Letterboxed:
    """Return what `decode_letterboxed` does, of a file that has been read; `where` is the place that errors name.

    Raises: DecodeError.
    """
    picture = _decode(film, size_px, where, choices)
    box = fit_box(*picture.source_px, size_px)
    square = _paste(picture, box, size_px)
    top, left, rows, columns = box
    note = picture.note | look_at(square[top : top + rows, left : left + columns])
    return Letterboxed(square, box, picture.source_px, note)


def letterbox(film_HW: Grey, size_px: int) -> tuple[Grey, Box]:
    """Return the film on a black square [S, S], and its place there.

    The longest side becomes S, the aspect is kept; centred, antialiased.
    """
    height, width = film_HW.shape
    box = fit_box(height, width, size_px)
    return _paste(_Picture(film_HW, (height, width), 1), box, size_px), box


def fit_box(height: int, width: int, size_px: int) -> Box:
    """Return where a film of this shape lies in the letterboxed square; sides are rounded half up and at least 1."""
    longest = max(height, width)
    rows, columns = (max(1, (2 * side * size_px + longest) // (2 * longest)) for side in (height, width))
    return (size_px - rows) // 2, (size_px - columns) // 2, rows, columns


def _paste(picture: _Picture, box: Box, size_px: int) -> Grey:
    top, left, rows, columns = box
    extent = (picture.source_px[0] / picture.scale, picture.source_px[1] / picture.scale)
    square = np.zeros((size_px, size_px), np.uint8)
    square[top : top + rows, left : left + columns] = resize(picture.grey, rows, columns, extent)
    return square


def _decode(film: FilmFile, size_px: int, where: str, choices: Choices) -> _Picture:
    """Return the grey film for a square of `size_px` (0: at full resolution)."""
    data = film.data
    if film.num_bytes > MAX_FILE_BYTES:
        raise _refuse("too large", where, f"{film.num_bytes:,} bytes, at most {MAX_FILE_BYTES:,} are read")
    if data.startswith(PNG_START):
        return _decode_picture(data, "PNG", size_px, choices, where)
    if data.startswith(_JPEG_START):
        return _decode_picture(data, "JPEG", size_px, choices, where)
    if is_dicom(data):
        return _decode_dicom(data, choices, where)
    if any(start.startswith(data) for start in (PNG_START, _JPEG_START)):
        raise _refuse("truncated", where, f"it has {len(data)} bytes")
    raise _refuse("not a JPEG, PNG or DICOM", where)


def _decode_dicom(data: bytes, choices: Choices, where: str) -> _Picture:
    film = open_film(data, where)
    check_radiograph(film)
    _check_size(film.rows, film.columns, where)
    grey, note = decode_noted(film, choices.by_shape)
    return _Picture(grey, (film.rows, film.columns), 1, note)


def _decode_picture(data: bytes, kind: Literal["JPEG", "PNG"], size_px: int, choices: Choices, where: str) -> _Picture:
    try:
        with warnings.catch_warnings():
            # Pillow's warnings concern metadata, and sizes that are checked here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                assert isinstance(image, ImageFile.ImageFile), "Image.open returns an image file"
                return _load_grey(image, data, kind, size_px, choices, where)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise _refuse("too large", where, f"more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise SetupError("not enough memory to decode a film", where, "use fewer workers") from None
    except Exception as error:
        # Pillow's decoders may raise anything: OSError, SyntaxError, ValueError, struct.error, ...
        raise _refuse(_find_fault(data, kind) or "damaged", where, plain(error, 120)) from None


def _load_grey(
    image: ImageFile.ImageFile, data: bytes, kind: str, size_px: int, choices: Choices, where: str
) -> _Picture:
    columns, rows = image.size
    _check_size(rows, columns, where)
    fault = _find_fault(data, kind) if kind == "PNG" else None
    if fault:
        raise _refuse(fault, where)
    picture, scale = _load_jpeg(image, data, size_px) if kind == "JPEG" else (image, 1)
    picture.load()
    if picture.mode.startswith("I"):
        grey, note = narrow(np.asarray(picture), data, choices.png_bits)
        return _Picture(grey, (rows, columns), scale, note)
    return _Picture(np.asarray(_to_grey(picture, where)), (rows, columns), scale)


def _load_jpeg(image: ImageFile.ImageFile, data: bytes, size_px: int) -> tuple[Image.Image, int]:
    """Return the picture at the scale that a square of `size_px` needs (0: whole), and the scale.

    Pillow's decoder passes over damage without a word, so it reads the header alone, and the colours of printing.
    """
    columns, rows = image.size
    shape, scale = (rows, columns), 1
    if size_px:
        _, _, height, width = fit_box(rows, columns, size_px)
        draft = image.draft(None, (DRAFT_GAP * width, DRAFT_GAP * height))
        scale = round(columns / draft[1][2]) if draft else 1
        shape = image.size[1], image.size[0]
    colour = JPEG_COLOURS.get(image.mode)
    pixels = decode_jpeg(data, colour or "CMYK", shape)
    assert pixels.shape[:2] == shape, "both decoders have the same scales"
    return (Image.fromarray(pixels) if colour else image), scale


def _check_size(rows: int, columns: int, where: str) -> None:
    if rows * columns > MAX_PIXELS:
        raise _refuse("too large", where, f"{rows:,} x {columns:,} pixels, at most {MAX_PIXELS:,} are decoded")
    if min(rows, columns) < MIN_SIDE_PX:
        raise _refuse("too small", where, f"{rows:,} x {columns:,} pixels, at least {MIN_SIDE_PX} a side are needed")


def _to_grey(image: Image.Image, where: str) -> Image.Image:
    mode = image.mode
    if mode == "L" and "transparency" not in image.info:
        return image
    if mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        raise _refuse("unsupported pixel format", where, mode)
    if "transparency" in image.info and mode in ("1", "L", "P", "RGB"):
        image = image.convert("LA" if mode in ("1", "L") else "RGBA")
    if image.mode in ("LA", "RGBA"):
        flat = Image.new("L", image.size)
        flat.paste(image.convert("L"), mask=image.getchannel("A"))
        return flat
    # The palette's own mode may not be RGB, and CMYK has no direct way to grey.
    return image.convert("RGB").convert("L") if mode in ("P", "CMYK") else image.convert("L")


def _find_fault(data: bytes, kind: str) -> Rule | None:
    """Return the fault of the container, which goes before that of the pixels."""
    if kind == "PNG":
        return find_fault(data)
    return None if _JPEG_END in data[-1024:] else "truncated"


def _refuse(rule: Rule, where: str, detail: str = "") -> DecodeError:
    return refuse(rule, detail, where)
