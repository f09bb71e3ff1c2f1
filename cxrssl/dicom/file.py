"""A DICOM file opened and chosen tags of it read, with every error renamed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.core.filmfile import refuse
from cxrssl.core.text import plain

PREAMBLE_BYTES, MAGIC = 128, b"DICM"
FIRST_ELEMENT = b"\x02\x00\x00\x00UL\x04\x00"
"""FileMetaInformationGroupLength, with which every file begins after its preamble (PS3.10 7.1)."""
MAX_CHARS = 250
NUM_FIRST_BYTES = PREAMBLE_BYTES + len(MAGIC)
"""So many show what a file is."""


def is_dicom(data: bytes) -> bool:
    """Return whether these first bytes of a file are those of a DICOM file, with its preamble or without."""
    return has_preamble(data) or data.startswith(FIRST_ELEMENT)


def has_preamble(data: bytes) -> bool:
    """Return whether these first bytes are a preamble and its four letters (PS3.10 7.1)."""
    return data[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MAGIC)] == MAGIC


class _Reader:
    """A file for pydicom that never reads more than the rest of it."""

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self._file, self._num_bytes = file, num_bytes
        self.seek, self.tell = file.seek, file.tell

    def read(self, num_bytes: int = -1) -> bytes:
        """Return up to `num_bytes`. pydicom asks for all of a file only to inflate it, to whatever size."""
        if num_bytes < 0:
            raise refuse("unsupported transfer syntax", "deflated")
        return self._file.read(max(0, min(num_bytes, self._num_bytes - self._file.tell())))


def read_dataset(file: BinaryIO, num_bytes: int, keywords: Iterable[str], **options: Any) -> Any:
    """Return pydicom's data set with the tags of these keywords; call it within `renamed_errors`, after `is_dicom`."""
    import pydicom

    return pydicom.dcmread(_Reader(file, num_bytes), specific_tags=list(keywords), force=True, **options)


def read_syntax(dataset: Any) -> str:
    """Return the transfer syntax, without which nothing else can be interpreted."""
    uid = plain(dataset.file_meta.get("TransferSyntaxUID", ""), MAX_CHARS)
    if not uid:
        raise refuse("damaged", "it has no TransferSyntaxUID")
    return uid


@contextlib.contextmanager
def renamed_errors(where: str) -> Iterator[None]:
    """Turn every exception but a SetupError into a DecodeError at this place."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern values that break their own type
            yield
    except (DecodeError, SetupError) as error:
        error.where = where
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        raise refuse("too large", "it takes more memory than a film may", where) from None
    except BaseException as reason:
        # pydicom and the codecs may raise anything: AttributeError, struct.error, RecursionError, and a BaseException
        # when a codec in Rust panics.
        raise refuse("damaged", plain(" ".join(str(reason).split()), 200), where) from None
