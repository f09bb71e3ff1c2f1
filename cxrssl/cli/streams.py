"""stdout and stderr as commands use them, whatever lies behind them: a terminal, a file, a full disk, a closed pipe.

In: the streams that Python opened. Out: the same, that replace control characters and what their encoding lacks.
Never: output that is lost without exit code 4, unless its reader has left; or work that ends because its narration
cannot be written.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.text import plain_lines


class _Stream:
    """A text stream that hides its bytes: nothing gets past it."""

    def __init__(self, raw: TextIO | None) -> None:
        self.raw = raw
        """Where terminals are drawn on; None when it was closed before the program began."""
        self.error: Exception | None = None
        if isinstance(raw, io.TextIOWrapper):
            raw.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # an echo that distrusts the encoding would write UTF-8 to it
            raise AttributeError(name)
        return getattr(self.raw, name)

    def isatty(self) -> bool:
        return self.raw is not None and self.raw.isatty()

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # an echo tries what it can
            raise TypeError("this stream takes text")
        if text:
            shown = plain_lines(text)
            self._do(lambda raw: raw.write(shown))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._do(lambda raw: raw.flush())

    def _do(self, act: Callable[[TextIO], object]) -> None:
        if self.error is None:
            try:
                if self.raw is None:
                    raise OSError(0, "it is closed")
                act(self.raw)
            except (OSError, ValueError) as error:
                self.error = error
                self._discard()
        if self.error is not None:
            self.fail(self.error)

    def _discard(self) -> None:
        """Have the system discard what is still held back, so that the interpreter ends without a word."""
        if self.raw is not None:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.raw.fileno())

    def fail(self, error: Exception) -> None:
        """Do what a failed write asks for."""


class _Stdout(_Stream):
    """Raises SetupError when it cannot be written; a reader that has left, as `head`, has seen enough."""

    def flush(self) -> None:
        if self.raw is not None:
            super().flush()

    def fail(self, error: Exception) -> None:
        if not isinstance(error, BrokenPipeError):
            reason = (getattr(error, "strerror", "") or str(error)).lower()
            raise SetupError(f"cannot write to stdout: {reason}", hint="free some space, or send the output elsewhere")


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Put `_Stdout` and `_Stream` in the place of stdout and stderr."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stdout(sys.stdout), _Stream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def read_stdin() -> str:
    """Return what stdin holds, as UTF-8 whatever the locale is.

    Raises: UsageError when it is closed, a folder, or no text.
    """
    try:
        if sys.stdin is None:
            raise OSError(0, "it is closed")
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8")
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise UsageError("stdin is not text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"stdin cannot be read: {str(error.strerror).lower()}") from None


def occupy_standard_files() -> None:
    """Open /dev/null in the place of a standard file that is closed: the next file opened would take its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
