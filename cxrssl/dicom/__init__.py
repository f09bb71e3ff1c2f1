"""DICOM files: what their headers say, and their pixels as stored and as greys. The only importer of pydicom.

In: a path inside the dataset folder, or the bytes of a file. Out: plain text, numbers and arrays.
Never: an exception other than DecodeError with a named rule (and SetupError for a codec that is not installed), a path
that leaves the dataset folder, an allocation of the size that a length field claims.
"""

from cxrssl.dicom.codecs import SYNTAXES, check_codecs, codec_versions, find_codecs
from cxrssl.dicom.file import NUM_FIRST_BYTES, is_dicom
from cxrssl.dicom.grey import check_radiograph, decode_grey, decode_noted
from cxrssl.dicom.header import KEYWORDS, DicomHeader, read_header
from cxrssl.dicom.jpeg import decode_jpeg
from cxrssl.dicom.pixels import DicomFilm, open_film

__all__ = [
    "KEYWORDS",
    "NUM_FIRST_BYTES",
    "SYNTAXES",
    "DicomFilm",
    "DicomHeader",
    "check_codecs",
    "check_radiograph",
    "codec_versions",
    "decode_grey",
    "decode_jpeg",
    "decode_noted",
    "find_codecs",
    "is_dicom",
    "open_film",
    "read_header",
]
