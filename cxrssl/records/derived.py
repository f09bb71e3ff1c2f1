"""Records that are made of others, such as comparisons of evaluations: which are current, and which are damaged.

In: a way to open one. Out: records, or what is damaged. Never: one whose sources are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cxrssl.core.errors import FormatError, IntegrityError
from cxrssl.records.damage import Damage


class Derived(Protocol):
    """A record that is made of others."""

    @property
    def settings(self) -> Any: ...

    def find_gone(self, known: Any) -> Damage | None:
        """Return that something it is made of is none of `known`, those of the workspace."""


R = TypeVar("R", bound=Derived)


def find_current(path: Path, settings: Any, open_record: Callable[[Path], R]) -> R | None:
    """Return the published record of these settings; None when there is none, or it is damaged.

    Raises: FormatError for one that a newer version made, which nobody may replace.
    """
    try:
        record = open_record(path)
    except FormatError:
        raise
    except IntegrityError:
        return None
    return record if record.settings == settings else None


def list_derived(
    paths: Sequence[Path], kind: str, known: Any, open_record: Callable[[Path], R]
) -> tuple[list[R], list[Damage]]:
    """Return the records in these folders, and those that cannot be used or are made of what is gone."""
    records, damage = [], []
    for path in paths:
        try:
            record = open_record(path)
        except IntegrityError as error:
            damage.append(Damage(kind, path.name, error.what))
            continue
        gone = record.find_gone(known)
        if gone is None:
            records.append(record)
        else:
            damage.append(gone)
    return records, damage
