"""Names of runs in a narrow column: shortened where they agree, never where they differ. Pure.

In: names. Out: short ones, no two alike, as terminals show them. Never: two names that look the same.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from cxrssl.core.columns import ELLIPSIS, cell_width, cut_middle, take_start
from cxrssl.core.text import plain

WIDER = 4
_PARTS = re.compile(r"[^-+._]+|[-+._]")
_DIGEST = re.compile(r"-[0-9a-f]{8}$")
"""Of the recipe, at the end of the name of a run."""


def shorten_names(names: Sequence[str], width: int) -> list[str]:
    """Return the names in the same order, each in at most `width` places or in the fewest that tell them all apart.

    The digest at the end gives way first, if names differ without it, then what all have in common, then the middle.
    """
    shown = list(map(plain, names))
    distinct = list(dict.fromkeys(shown))
    longest = max(map(cell_width, distinct), default=0)
    short, telling = distinct, _leave_digests(distinct)
    for room in range(width, longest, WIDER):
        short = _shorten(telling, room)
        if len(set(short)) == len(distinct):
            break
        short = distinct
    by_name = dict(zip(distinct, short, strict=True))
    return [by_name[name] for name in shown]


def least_width(names: Sequence[str]) -> int:
    """Return the places that names need to lose nothing that tells them apart."""
    shown = _leave_digests(list(map(plain, names)))
    return max(map(cell_width, _elide_common(shown) if len(set(shown)) > 1 else shown), default=0)


def _leave_digests(names: Sequence[str]) -> list[str]:
    """Return the names with an ellipsis for the digest at their ends, or as they are if some are alike then."""
    left = [_DIGEST.sub(ELLIPSIS, name) for name in names]
    return left if len(set(left)) == len(set(names)) > 1 else list(names)


def _shorten(names: Sequence[str], width: int) -> list[str]:
    """Return different names in at most `width` places; some may be alike then."""
    elided = _elide_common(names, width) if len(names) > 1 else list(names)
    shown = [cut_middle(name, width).replace(ELLIPSIS + ELLIPSIS, ELLIPSIS) for name in elided]
    alike: dict[str, list[str]] = {}
    for name, text in zip(elided, shown, strict=True):
        alike.setdefault(text, []).append(name)
    return [
        text if len(alike[text]) == 1 else _show_difference(name, alike[text], width)
        for name, text in zip(elided, shown, strict=True)
    ]


def _elide_common(names: Sequence[str], width: int = 0) -> list[str]:
    """Return each name with an ellipsis for parts that all of them have, no more than `width` places make needful.

    The longest parts give way first; of equally long ones the last.
    """
    split = [_PARTS.findall(name) for name in names]
    common = Counter(split[0])
    for parts in split[1:]:
        common &= Counter(parts)
    words = [part for part in dict.fromkeys(split[0]) if part in common and len(part) > 1]
    words.sort(key=lambda word: (len(word), split[0].index(word)), reverse=True)
    elided = [_elide_needed(parts, words, width) for parts in split]
    return elided if len(set(elided)) == len(set(names)) else list(names)


def _elide_needed(parts: Sequence[str], words: Sequence[str], width: int) -> str:
    """Return a name without as many of the words as it takes to fit, or without all of them."""
    texts = (_elide(parts, set(words[:num])) for num in range(len(words) + 1))
    shown = ""
    for shown in texts:
        if cell_width(shown) <= width:
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


def _show_difference(name: str, alike: Sequence[str], width: int) -> str:
    """Return the name from shortly before it differs from the others."""
    start = max(_num_alike(alike) - 2, 0)
    text = (ELLIPSIS if start else "") + name[start:]
    return text if cell_width(text) <= width else take_start(text, max(width - 1, 0)) + ELLIPSIS


def _num_alike(names: Sequence[str]) -> int:
    """Return with how many characters all names begin alike."""
    return sum(1 for _ in itertools.takewhile(lambda chars: len(set(chars)) == 1, zip(*names, strict=False)))
