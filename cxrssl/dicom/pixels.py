"""The pixels of one DICOM film as they are stored, and the numbers that turn them into greys.

In: the bytes of a file. Out: a DicomFilm from its header; its cells uint8 or uint16 [H, W] on request.
Never: a decoder started before the header is checked against the file, cells of another shape than Rows x Columns.
Source: DICOM PS3.3 C.7.6.3 (image pixel), C.7.5.1.1.2 (padding), C.11.1, C.11.2 (tables, windows), PS3.5 8 (encoding).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.filmfile import refuse
from cxrssl.core.text import plain
from cxrssl.dicom.codecs import RLE, SYNTAXES, check_codecs, plugin
from cxrssl.dicom.file import MAX_CHARS, read_dataset, read_syntax, renamed_errors

Cells: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_TEXTS = ("Modality", "PhotometricInterpretation", "PresentationLUTShape", "VOILUTFunction")
_NUMBERS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_OPTIONAL = ("NumberOfFrames", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
_RAW = ("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence", "PixelData")
KEYWORDS = (*_TEXTS, *_NUMBERS, *_OPTIONAL, *_RAW)


@dataclass(frozen=True)
class Lut:
    """A lookup table: entries for the inputs from `first` on."""

    first: int
    """A word of 16 bits; whether it has a sign depends on the input."""
    entries: NDArray[np.uint16]
    bits: int
    """The entries are from 0 to 2^bits - 1."""


@dataclass(frozen=True)
class Window:
    """A window; `function` is LINEAR, LINEAR_EXACT, SIGMOID or any other word of the file."""

    center: float
    width: float
    function: str


@dataclass(frozen=True)
class DicomFilm:
    """A film whose header is read and whose pixels are not decoded yet; fields are named as in the standard."""

    modality: str
    photometric_interpretation: str
    presentation_lut_shape: str
    transfer_syntax_uid: str
    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    padding: tuple[int, int] | None
    """PixelPaddingValue and PixelPaddingRangeLimit (or the value again), words of 16 bits."""
    modality_lut: Lut | None
    rescale_slope: float
    rescale_intercept: float
    voi_lut: Lut | None
    """The first of VOILUTSequence."""
    window: Window | None
    """The first of the windows."""
    where: str
    _dataset: Any

    def read_cells(self) -> Cells:
        """Return the cells [H, W]: numbers of `bits_allocated` or fewer bits, as stored.

        Bits above `high_bit` may hold anything, as overlays did once. A lossy codec's numbers beyond `bits_stored` are
        clipped.

        Raises: DecodeError, SetupError when the codec is not installed.
        """
        with renamed_errors(self.where):
            self._check_format()
            is_native = not SYNTAXES[self.transfer_syntax_uid][1]
            cells = self._read_native() if is_native else self._decode_cells()
            return cells.reshape(self.rows, self.columns)

    def _check_format(self) -> None:
        if self.number_of_frames != 1:
            raise refuse("unsupported pixel format", f"{self.number_of_frames:,} frames")
        if self.samples_per_pixel != 1 or self.photometric_interpretation not in MONOCHROME:
            raise refuse("unsupported pixel format", f"not grey: {self.photometric_interpretation}")
        is_regular = self.bits_allocated in (8, 16) and 0 < self.bits_stored <= self.high_bit + 1 <= self.bits_allocated
        if not is_regular:
            raise refuse("unsupported pixel format", f"{self.bits_stored} bits in {self.bits_allocated}")

    def _read_native(self) -> Cells:
        data = _raw(self._dataset, "PixelData")
        num_bytes = self.rows * self.columns * self.bits_allocated // 8
        if len(data) < num_bytes:
            raise refuse("truncated", f"{len(data):,} of {num_bytes:,} bytes of pixels")
        if len(data) > num_bytes + num_bytes % 2:
            raise refuse("damaged", f"{len(data):,} bytes of pixels for {self.rows:,} x {self.columns:,}")
        return _words(data, self.bits_allocated)[: self.rows * self.columns]

    def _decode_cells(self) -> Cells:
        from pydicom.encaps import get_frame
        from pydicom.pixels.decoders.base import get_decoder

        uid = self.transfer_syntax_uid
        check_codecs([uid])
        # Fails before the codec runs if the codestream contradicts the header.
        frame = get_frame(_raw(self._dataset, "PixelData"), 0, number_of_frames=1)
        precision = self.bits_stored if uid == RLE else self._check_codestream(frame)
        decoder = get_decoder(uid)
        buffer, facts = decoder.as_buffer(self._dataset, index=0, raw=True, decoding_plugin=plugin(uid))
        cells = _words(buffer, int(facts["bits_allocated"]))
        if cells.size != self.rows * self.columns:
            raise refuse("damaged", f"{cells.size:,} pixels for {self.rows:,} x {self.columns:,}")
        return cells.clip(max=2**self.bits_stored - 1) if precision > self.bits_stored else cells

    def _check_codestream(self, frame: bytes) -> int:
        """Check the codestream's own header against ours and return its precision in bits."""
        stream = _read_codestream(frame)
        if stream.components != 1:
            raise refuse("unsupported pixel format", f"{stream.components} samples a pixel")
        if (stream.rows, stream.columns) != (self.rows, self.columns):
            size = f"{stream.rows:,} x {stream.columns:,} pixels"
            raise refuse("damaged", f"{size} for {self.rows:,} x {self.columns:,}")
        has_sign = self.is_signed or stream.is_signed
        if stream.precision > self.bits_allocated or (has_sign and stream.precision != self.bits_stored):
            raise refuse("damaged", f"{stream.precision} bits a pixel for {self.bits_stored}")
        if self.high_bit != self.bits_stored - 1:
            raise refuse("unsupported pixel format", f"high bit {self.high_bit} of {self.bits_stored}")
        return stream.precision


def open_film(data: bytes, where: str) -> DicomFilm:
    """Return the film of these bytes; `where` is the place that errors name.

    Raises: DecodeError.
    """
    with renamed_errors(where):
        dataset = read_dataset(io.BytesIO(data), len(data), KEYWORDS)
        syntax = read_syntax(dataset)
        if syntax not in SYNTAXES:
            raise refuse("unsupported transfer syntax", syntax)
        if len(dataset) == 0:  # pydicom's result when compressed pixels have no end
            raise refuse("truncated", "it ends within its pixels")
        frames = dataset.get("NumberOfFrames")
        film = DicomFilm(
            modality=_text(dataset, "Modality"),
            photometric_interpretation=_text(dataset, "PhotometricInterpretation"),
            presentation_lut_shape=_text(dataset, "PresentationLUTShape"),
            transfer_syntax_uid=syntax,
            rows=_number(dataset, "Rows"),
            columns=_number(dataset, "Columns"),
            number_of_frames=1 if frames is None else int(frames),
            samples_per_pixel=_number(dataset, "SamplesPerPixel"),
            bits_allocated=_number(dataset, "BitsAllocated"),
            bits_stored=_number(dataset, "BitsStored"),
            high_bit=_number(dataset, "HighBit"),
            is_signed=_number(dataset, "PixelRepresentation") == 1,
            padding=_read_padding(dataset),
            modality_lut=_read_lut(dataset, "ModalityLUTSequence"),
            rescale_slope=_first_float(dataset, "RescaleSlope", 1.0),
            rescale_intercept=_first_float(dataset, "RescaleIntercept", 0.0),
            voi_lut=_read_lut(dataset, "VOILUTSequence"),
            window=_read_window(dataset),
            where=where,
            _dataset=dataset,
        )
        if film.rows < 1 or film.columns < 1:
            raise refuse("damaged", "Rows or Columns is 0")
        return film


def _text(dataset: Any, keyword: str) -> str:
    return plain(str(dataset.get(keyword) or "").strip(), MAX_CHARS)


def _number(dataset: Any, keyword: str) -> int:
    value = dataset.get(keyword)
    if value is None:
        raise refuse("damaged", f"{keyword} is missing")
    return int(value)


def _first_float(dataset: Any, keyword: str, absent: float) -> float:
    value = dataset.get(keyword)
    if value is None or value == "":
        return absent
    return float(value if isinstance(value, float | int | str) else value[0])


def _raw(dataset: Any, keyword: str) -> bytes:
    """Return the bytes of a value: pydicom does not consider all that decides whether words have a sign."""
    element = dataset.get_item(keyword)
    if element is None:
        raise refuse("truncated" if keyword == "PixelData" else "damaged", f"{keyword} is missing")
    if not isinstance(element.value, bytes):
        raise refuse("damaged", f"{keyword} is not made of words")
    return element.value


def _words(data: bytes | bytearray | memoryview, bits: int) -> Cells:
    return np.frombuffer(data, np.uint8) if bits == 8 else np.frombuffer(data, "<u2").astype(np.uint16, copy=False)


def _read_padding(dataset: Any) -> tuple[int, int] | None:
    if "PixelPaddingValue" not in dataset or not _raw(dataset, "PixelPaddingValue"):
        return None
    (value,) = struct.unpack("<H", _raw(dataset, "PixelPaddingValue"))
    if "PixelPaddingRangeLimit" not in dataset or not _raw(dataset, "PixelPaddingRangeLimit"):
        return value, value
    (limit,) = struct.unpack("<H", _raw(dataset, "PixelPaddingRangeLimit"))
    return value, limit


def _read_lut(dataset: Any, keyword: str) -> Lut | None:
    """Return the sequence's first table.

    Source: PS3.3 C.11.1.1.1: 0 entries are 65,536; entries of 8 bits may lie two in a word, which their number shows.
    """
    items = dataset.get(keyword)
    if not items:
        return None
    num_entries, first, bits = struct.unpack("<HHH", _raw(items[0], "LUTDescriptor"))
    num_entries = num_entries or 65536
    data = _raw(items[0], "LUTData")
    if not 8 <= bits <= 16:
        raise refuse("damaged", f"a lookup table of {bits} bits")
    if len(data) == 2 * num_entries:
        return Lut(first, np.frombuffer(data, "<u2").astype(np.uint16), bits)
    if len(data) == num_entries + num_entries % 2 and bits == 8:
        return Lut(first, np.frombuffer(data, np.uint8, num_entries).astype(np.uint16), bits)
    raise refuse("damaged", f"{len(data):,} bytes for a lookup table of {num_entries:,} entries")


def _read_window(dataset: Any) -> Window | None:
    nowhere = float("nan")
    center, width = (_first_float(dataset, keyword, nowhere) for keyword in ("WindowCenter", "WindowWidth"))
    is_absent = any(dataset.get(keyword) in (None, "") for keyword in ("WindowCenter", "WindowWidth"))
    return None if is_absent else Window(center, width, _text(dataset, "VOILUTFunction") or "LINEAR")


@dataclass(frozen=True)
class _Codestream:
    rows: int
    columns: int
    components: int
    precision: int
    is_signed: bool


def _read_codestream(frame: bytes) -> _Codestream:
    """Return the size that the codestream itself declares.

    Source: ITU-T T.81 B.2.2 and T.87 C.2.2 (frame header), T.800 A.5.1 (SIZ).
    """
    siz = frame.find(b"\xff\x4f\xff\x51")
    if siz >= 0 and not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = struct.unpack_from(">4I", frame, siz + 8)
        components, depth = struct.unpack_from(">HB", frame, siz + 40)
        return _Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1, bool(depth & 0x80))
    at = 2
    while at + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker == 0xFFFF:  # a fill byte
            at += 1
        elif marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            return _Codestream(rows, columns, components, precision, False)
        else:
            at += 2 + length
    raise refuse("damaged", "a codestream without a frame header")
