"""A disk that fails: the n-th call that changes it, as SQLite's own tests do it for n = 1, 2, 3 ..."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

CALLS = ("open", "write", "fsync", "fdatasync", "rename", "replace", "mkdir")
KINDS = ("ENOSPC", "EACCES", "EIO", "short")


class FailingDisk:
    """The calls of `os` that change a disk, counted; call number `fail_at` fails by `kind`.

    ENOSPC stays, as a full disk does, and its first write takes half of the data; EACCES and EIO fail one call; a short
    write takes half of the data and says so.
    """

    def __init__(self, fail_at: int, kind: str) -> None:
        self.fail_at, self.kind = fail_at, kind
        self.num_calls = 0
        self.failed = ""
        """The call that failed first."""
        self._originals = {name: getattr(os, name) for name in CALLS}

    def install(self, put: Callable[[Any, str, Any], None] = setattr) -> FailingDisk:
        """Take the place of the calls; `put` may be monkeypatch.setattr."""
        for name in CALLS:
            put(os, name, self._make(name))
        return self

    def _make(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if (name == "open" and not args[1] & os.O_CREAT) or (name == "mkdir" and os.path.isdir(args[0])):
                return self._originals[name](*args, **kwargs)
            self.num_calls += 1
            is_due = self.num_calls == self.fail_at or (self.kind == "ENOSPC" and self.num_calls > self.fail_at > 0)
            if not is_due or (self.kind == "short" and name != "write"):
                return self._originals[name](*args, **kwargs)
            is_first, self.failed = not self.failed, self.failed or name
            if name == "write" and self.kind in ("short", "ENOSPC") and is_first and len(args[1]) > 1:
                return self._originals[name](args[0], memoryview(args[1])[: len(args[1]) // 2])
            number = getattr(errno, self.kind)
            # As the true calls do: those that are given a descriptor cannot say which file it is.
            raise OSError(number, os.strerror(number), *(str(arg) for arg in args[:1] if not isinstance(arg, int)))

        return call
