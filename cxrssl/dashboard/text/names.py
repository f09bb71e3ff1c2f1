"""Names of runs, shortened where they agree and never where they differ. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from cxrssl.core.columns import cell_width
from cxrssl.core.text import plain
from cxrssl.dashboard.text.cells import short_id

ELLIPSIS = "…"
_PARTS = re.compile(r"[^-+._]+|[-+._]")


def shorten_names(names: Sequence[str], chars: int) -> list[str]:
    """Return the names in at most `chars` places, in the same order.

    What all names have in common gives way first, then the middle of a name; two names that differ stay different.
    """
    if not names or max(map(cell_width, names)) <= chars:
        return list(map(plain, names))
    elided = _elide_common([plain(name) for name in names], chars) if len(set(names)) > 1 else list(map(plain, names))
    shown = [short_id(name, chars).replace(ELLIPSIS + ELLIPSIS, ELLIPSIS) for name in elided]
    counts = Counter(shown)
    alike = {text: [name for name, each in zip(elided, shown, strict=True) if each == text] for text in counts}
    return [
        text if counts[text] == 1 or len(set(alike[text])) == 1 else _show_difference(name, alike[text], chars)
        for name, text in zip(elided, shown, strict=True)
    ]


def least_width(names: Sequence[str]) -> int:
    """Return the places that names need to lose nothing in which they differ."""
    shown = list(map(plain, names))
    return max(map(cell_width, _elide_common(shown) if len(set(shown)) > 1 else shown), default=0)


def _elide_common(names: Sequence[str], chars: int = 0) -> list[str]:
    """Return each name with an ellipsis for parts that all of them have, no more than `chars` places make needful.

    The longest parts give way first; of equally long ones the last.
    """
    split = [_PARTS.findall(name) for name in names]
    common = Counter(split[0])
    for parts in split[1:]:
        common &= Counter(parts)
    words = [part for part in dict.fromkeys(split[0]) if part in common and len(part) > 1]
    words.sort(key=lambda word: (len(word), split[0].index(word)), reverse=True)
    elided = [_elide_needed(parts, words, chars) for parts in split]
    return elided if len(set(elided)) == len(set(names)) else list(names)


def _elide_needed(parts: Sequence[str], words: Sequence[str], chars: int) -> str:
    """Return a name without as many of the words as it takes to fit, or without all of them."""
    texts = (_elide(parts, set(words[:num])) for num in range(len(words) + 1))
    shown = ""
    for shown in texts:
        if cell_width(shown) <= chars:
            break
    return shown


def _elide(parts: Sequence[str], words: set[str]) -> str:
    text = ""
    for at, part in enumerate(parts):
        is_separator = len(part) == 1 and part in "-+._"
        before, after = parts[at - 1] if at else "", parts[at + 1] if at + 1 < len(parts) else ""
        is_left_out = part in words or (is_separator and (before in words or after in words))
        text += part if not is_left_out else "" if text.endswith(ELLIPSIS) else ELLIPSIS
    return text.replace(ELLIPSIS + ELLIPSIS, ELLIPSIS)


def _show_difference(name: str, alike: Sequence[str], chars: int) -> str:
    """Return the name from shortly before it differs from the others."""
    start = max(_num_alike(alike) - 2, 0)
    text = (ELLIPSIS if start else "") + name[start:]
    return text if len(text) <= chars else text[: max(chars - 1, 0)] + ELLIPSIS


def _num_alike(names: Sequence[str]) -> int:
    """Return with how many characters all names begin alike."""
    return sum(1 for _ in itertools.takewhile(lambda chars: len(set(chars)) == 1, zip(*names, strict=False)))
