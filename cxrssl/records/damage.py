"""What is wrong with a published folder, in one sentence that every view of the workspace repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import count_noun, plain

MAX_NAMED = 3


@dataclass(frozen=True, order=True)
class Damage:
    """A folder that cannot be used, or not in full."""

    kind: str
    """`run`, `evaluation`, `comparison`, `group` or `ablation`."""
    name: str
    """Of the folder."""
    what: str

    @property
    def sentence(self) -> str:
        """The damage as every view shows it."""
        return f"{self.kind} {plain(self.name, 200)}: {plain(self.what, 300)}"


def describe_faults(file: str, faults: Sequence[str]) -> str:
    """Return the first faults of a file as one predicate, such as 'run.json lacks "cohort"'."""
    more = len(faults) - MAX_NAMED
    return f"{file} {', '.join(faults[:MAX_NAMED])}" + (f" and {count_noun(more, 'more fault')}" if more > 0 else "")


def refuse_faults(file: str, faults: Sequence[str], where: str) -> None:
    """Raise IntegrityError if there are faults."""
    if faults:
        raise IntegrityError(describe_faults(file, faults), where)
