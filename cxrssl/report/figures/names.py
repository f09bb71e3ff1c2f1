"""Names of series that fit their place: what they all share goes first, what tells them apart stays.

In: names, and whether a text fits. Out: one text for each name; equal only where the names are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_ASIDE = re.compile(r" \(([^()]*)\)$")
_WORD = re.compile(r"\S+\s*")
Fits = Callable[[str], bool]


def shorten_names(names: Sequence[str], fits: Fits) -> list[str]:
    """Return names that fit: without asides that all share, then without words that all share, then cut in the middle.

    Names that are equal after that get a number.
    """
    shown = _drop_shared_asides(names)
    if not all(map(fits, shown)):
        shown = _drop_shared_words(shown, fits)
    return _number(names, [_cut(each, fits) for each in shown], fits)


def _drop_shared_asides(names: Sequence[str]) -> list[str]:
    """Return names without parts of their final brackets, such as "24 epochs", that all brackets hold."""
    asides = [found[1].split(", ") if (found := _ASIDE.search(name)) else [] for name in names]
    given = [aside for aside in asides if aside]
    shared = set.intersection(*map(set, given)) if len(set(names)) > 1 and len(given) > 1 else set()
    return [_without(name, aside, shared) for name, aside in zip(names, asides, strict=True)]


def _without(name: str, aside: list[str], shared: set[str]) -> str:
    if not aside:
        return name
    kept = ", ".join(each for each in aside if each not in shared)
    return _ASIDE.sub(f" ({kept})".replace("\\", r"\\") if kept else "", name)


def _drop_shared_words(names: Sequence[str], fits: Fits) -> list[str]:
    """Return names that do not fit without the words that all of these begin and end with."""
    long = [_WORD.findall(name) for name in dict.fromkeys(names) if not fits(name)]
    if len(long) < 2:
        return list(names)
    first, last = _count_shared(long), _count_shared([words[::-1] for words in long])
    shown = []
    for name in names:
        words = _WORD.findall(name)
        if fits(name) or first + last >= len(words):
            shown.append(name)
            continue
        kept = "".join(words[first : len(words) - last]).strip()
        shown.append(f"{'… ' if first else ''}{kept}{' …' if last else ''}")
    return shown


def _count_shared(rows: Sequence[Sequence[str]]) -> int:
    """Return how many words all rows begin with, at least one word of each left."""
    most = min(map(len, rows)) - 1
    return next((k for k in range(most) if len({row[k].strip() for row in rows}) > 1), max(0, most))


def _cut(name: str, fits: Fits) -> str:
    """Return a name that fits, its middle cut out where it must be."""
    if fits(name):
        return name
    low, high = 0, len(name)
    while low < high:  # the most characters that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_keep(name, middle)) else (low, middle - 1)
    return _keep(name, low)


def _keep(name: str, num: int) -> str:
    head = -(-num // 2)
    return f"{name[:head].rstrip()}…{name[len(name) - (num - head) :].lstrip()}" if num < len(name) else name


def _number(names: Sequence[str], shown: Sequence[str], fits: Fits) -> list[str]:
    """Return texts with a number where different names have become equal."""
    origins: dict[str, dict[str, None]] = {}
    for name, text in zip(names, shown, strict=True):
        origins.setdefault(text, {}).setdefault(name)
    numbered = []
    for name, text in zip(names, shown, strict=True):
        alike = list(origins[text])
        ending = f" #{alike.index(name) + 1}" if len(alike) > 1 else ""
        numbered.append(_cut(text, lambda each, ending=ending: fits(each + ending)) + ending)  # type: ignore[misc]
    return numbered
