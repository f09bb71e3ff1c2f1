"""The bytes of a table: packed or plain by what they are and not by the file's name, within a bound.

In: a file. Out: its bytes, unpacked; what is wrong with the first line where it is no header of ours.
Never: more than MAX_TABLE_BYTES in memory, or a delimiter or an encoding that is guessed and read.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from isal import igzip as gzip
from isal import isal_zlib as zlib

from cxrssl.core.errors import DataError
from cxrssl.core.text import format_bytes, plain

MAX_TABLE_BYTES = 1 << 30
"""Of a table, unpacked. The largest here, MIMIC-CXR's metadata, has 60 MiB."""
MAX_GZIP_RATIO = 200
GZIP_MAGIC = b"\x1f\x8b"
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between cells in tables that other programs wrote, and its name."""
ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
FETCH_AGAIN = "fetch the file again and compare it with the publisher's SHA256SUMS.txt"


def is_packed(path: Path) -> bool:
    """Return whether the file begins as gzip does; its name does not matter, since browsers unpack files."""
    try:
        with path.open("rb") as stream:
            return stream.read(2) == GZIP_MAGIC
    except OSError:
        return False


def read_bytes(path: Path, file: str) -> bytes:
    """Return the bytes of a plain or gzipped file without its byte-order mark.

    Raises: DataError when the file is missing, cut short, damaged, or larger than MAX_TABLE_BYTES; or, unpacked, larger
    than 200 times its size.
    """
    try:
        return _read(path, file).removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise DataError(f"{file} is missing", path, "fetch the file again") from None
    except EOFError:
        raise DataError(f"{file} is cut short: the gzip stream does not end", path, FETCH_AGAIN) from None
    except (gzip.BadGzipFile, zlib.error) as error:  # type: ignore[misc]
        raise DataError(f"{file} is damaged: {plain(error)}", path, FETCH_AGAIN) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}", path) from None


def peek_bytes(path: Path, num_bytes: int) -> bytes:
    """Return the first bytes, unpacked; none where they cannot be read."""
    try:
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:  # type: ignore[no-untyped-call]
            return bytes(file.read(num_bytes))
    except (OSError, EOFError, zlib.error):  # type: ignore[misc]
        return b""


def decode_start(data: bytes) -> str:
    """Return the text of the first bytes of a table, in UTF-8 or, where its mark says so, in UTF-16."""
    encoding = ENCODINGS.get(data[:2], "utf-8")
    return data.decode(encoding, "replace").removeprefix("\ufeff")


def find_delimiter(line: str) -> str:
    """Return what stands between the cells of a header: what occurs most often, of equals the comma."""
    return max((",", *DELIMITERS), key=line.count)


def explain_header(data: bytes, name: str) -> tuple[str, str]:
    """Return what is wrong with a table whose header has not the `name` that it should have, and what to do, or ""."""
    text = decode_start(data[: 1 << 14])
    line = next(iter(text.splitlines()), "")
    if data[:2] in ENCODINGS or line.count("\0") > len(line) / 3:
        return "is not in UTF-8 but in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 OLD.csv > NEW.csv"
    if text.lstrip().lower().startswith(("<!doctype", "<html")):
        return "is a web page and not a table", "the download needed a login: fetch the file again"
    delimiter = find_delimiter(line)
    if delimiter != "," and name in [cell.strip(' "') for cell in line.split(delimiter)]:
        return f"has {DELIMITERS[delimiter]} between its cells", "save it with commas"
    return "", ""


def _read(path: Path, file: str) -> bytes:
    size = path.stat().st_size
    if not is_packed(path):
        if path.name.endswith(".gz") and size < len(GZIP_MAGIC):
            raise EOFError
        _check_size(size, MAX_TABLE_BYTES, file, path)
        return path.read_bytes()
    limit = min(MAX_GZIP_RATIO * size + (1 << 20), MAX_TABLE_BYTES)
    with gzip.open(path) as stream:  # type: ignore[no-untyped-call]
        data: bytes = stream.read(limit + 1)
    _check_size(len(data), limit, file, path)
    return data


def _check_size(size: int, limit: int, file: str, path: Path) -> None:
    if size > limit:
        most = format_bytes(MAX_TABLE_BYTES) if limit == MAX_TABLE_BYTES else f"{MAX_GZIP_RATIO} times its size"
        raise DataError(f"{file} has or unpacks to more than {most}", path, "this is not a table of the dataset")
