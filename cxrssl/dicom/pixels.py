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
from cxrssl.core.filmnote import Note
from cxrssl.core.text import plain
from cxrssl.dicom.codecs import BASELINE, EXTENDED, LOSSLESS_SYNTAXES, RLE, SYNTAXES, check_codecs, plugin
from cxrssl.dicom.codestream import check_whole, read_codestream
from cxrssl.dicom.file import MAX_CHARS, has_preamble, read_dataset, read_syntax, renamed_errors
from cxrssl.dicom.jpeg import check_entropy, decode_jpeg
from cxrssl.dicom.lossless import check_used_up

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
    has_preamble: bool
    _dataset: Any

    @property
    def is_native(self) -> bool:
        """Whether the pixels are stored uncompressed."""
        return not SYNTAXES[self.transfer_syntax_uid][1]

    @property
    def note(self) -> Note:
        """What is odd about the file and changes no pixel."""
        found = Note(0)
        if self.number_of_frames == 0:
            found |= Note.NO_FRAMES
        if not self.has_preamble:
            found |= Note.NO_PREAMBLE
        if self.is_native and len(_raw(self._dataset, "PixelData")) > self._num_bytes + self._num_bytes % 2:
            found |= Note.PADDING
        return found

    @property
    def _num_bytes(self) -> int:
        """Of the pixels, uncompressed."""
        return self.rows * self.columns * self.bits_allocated // 8

    def read_cells(self) -> Cells:
        """Return the cells [H, W]: numbers of `bits_allocated` or fewer bits, as stored.

        Bits above `high_bit` may hold anything, as overlays did once. A lossy codec's numbers beyond `bits_stored` are
        clipped.

        Raises: DecodeError, SetupError when the codec is not installed.
        """
        with renamed_errors(self.where):
            self._check_format()
            cells = self._read_native() if self.is_native else self._decode_cells()
            return cells.reshape(self.rows, self.columns)

    def _check_format(self) -> None:
        if self.number_of_frames > 1 or self.number_of_frames < 0:
            raise refuse("unsupported pixel format", f"{self.number_of_frames:,} frames")
        if self.samples_per_pixel != 1 or self.photometric_interpretation not in MONOCHROME:
            raise refuse("unsupported pixel format", f"not grey: {self.photometric_interpretation}")
        is_regular = self.bits_allocated in (8, 16) and 0 < self.bits_stored <= self.high_bit + 1 <= self.bits_allocated
        if not is_regular:
            raise refuse("unsupported pixel format", f"{self.bits_stored} bits in {self.bits_allocated}")

    def _read_native(self) -> Cells:
        data = _raw(self._dataset, "PixelData")
        if len(data) < self._num_bytes:
            raise refuse("truncated", f"{len(data):,} of {self._num_bytes:,} bytes of pixels")
        # Less than a row of zeros is padding, whatever its length; more may be pixels of another size (PS3.5 8.1.1).
        rest = data[self._num_bytes :]
        if len(rest) > 1 and (any(rest) or len(rest) >= self._num_bytes // self.rows):
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
        check_whole(frame, uid)
        if uid == BASELINE:
            cells: Cells = decode_jpeg(frame, "GRAY").reshape(-1)
        else:
            buffer, facts = get_decoder(uid).as_buffer(self._dataset, index=0, raw=True, decoding_plugin=plugin(uid))
            cells = _words(buffer, int(facts["bits_allocated"]))
        if cells.size != self.rows * self.columns:
            raise refuse("damaged", f"{cells.size:,} pixels for {self.rows:,} x {self.columns:,}")
        if uid in LOSSLESS_SYNTAXES:
            check_used_up(frame, cells.reshape(self.rows, self.columns))
        elif uid == EXTENDED:
            check_entropy(frame)
        return cells.clip(max=2**self.bits_stored - 1) if precision > self.bits_stored else cells

    def _check_codestream(self, frame: bytes) -> int:
        """Check the codestream's own header against ours and return its precision in bits."""
        stream = read_codestream(frame)
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
            has_preamble=has_preamble(data),
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
