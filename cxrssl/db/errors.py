"""Errors of DuckDB, renamed: one of our family, with one clear line and a hint."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, SetupError, UsageError
from cxrssl.core.text import plain

CANNOT_WRITE = ("no space left", "permission denied", "file too large", "quota exceeded", "read-only file system")
WRITE_HINT = "free some space, or name another --workspace"
# The line of a DuckDB message that suggests names; some messages have a colon too many.
_CANDIDATES = re.compile(r"^(?:Candidate (?:bindings|tables)|Did you mean):?[ :]*(.+?)\??$", re.MULTILINE)


@contextlib.contextmanager
def renamed_duckdb_errors(path: Path | None) -> Iterator[None]:
    """Turn any error of DuckDB into one of our family; `path` is the database it happened in."""
    try:
        yield
    except duckdb.Error as error:
        raise _rename(error, path or "") from error
    except RuntimeError as error:
        if "interrupted" in str(error).lower():  # DuckDB's error for Ctrl-C during a query
            raise KeyboardInterrupt from None
        raise


def _rename(error: duckdb.Error, where: Path | str) -> CxrsslError:
    text, line = str(error).lower(), _first_line(error)
    if any(words in text for words in CANNOT_WRITE):
        # DuckDB reports this in errors of several classes, a failed commit among them.
        return SetupError(f"cannot write the database: {line}", where, WRITE_HINT)
    if "corrupt" in text and not isinstance(error, duckdb.ProgrammingError | duckdb.DataError):
        # Of several classes too; a query that speaks of corruption itself fails with one of those two.
        return IntegrityError(f"the database is damaged: {line}", where)
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        found = _CANDIDATES.search(str(error))
        hint = f"nearest is {plain(found[1])}" if found else ""
        return UsageError(f"this SQL cannot run: {line}", where, hint)
    if isinstance(error, duckdb.PermissionException):
        return UsageError(f"this SQL is not allowed: {line}", where)
    if isinstance(error, duckdb.InterruptException):
        return UsageError("the query was stopped before its end", where)
    if isinstance(error, duckdb.OutOfMemoryException):
        return SetupError(f"not enough memory: {line}", where)
    if isinstance(error, duckdb.IOException | duckdb.ConnectionException):
        if "lock" in text or "different configuration" in text:
            return SetupError(f"the database is in use: {line}", where)
        return IntegrityError(f"the database cannot be read: {line}", where)
    return DataError(f"the database refused: {line}", where)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return plain(lines[0] if lines else type(error).__name__)
