"""Names of runs made short for a narrow column: shortened where they agree, kept where they differ.

In: names. Out: short ones, no two alike. Never: two names that look the same.
"""

from __future__ import annotations

from collections.abc import Sequence

MORE = "…"
SEPARATOR = "-"


def shorten_names(names: Sequence[str], width: int) -> list[str]:
    """Return each name in at most `width` places, as far as they can still be told apart."""
    distinct = list(dict.fromkeys(names))
    if not distinct or max(map(len, distinct)) <= width:
        return list(names)
    parts = [name.split(SEPARATOR) for name in distinct]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    short = [_drop(each, common, width) for each in parts]
    if len(set(short)) < len(short):
        short = [_cut(name, width) for name in distinct]
    if len(set(short)) < len(short):
        short = distinct
    by_name = dict(zip(distinct, short, strict=True))
    return [by_name[name] for name in names]


def _drop(parts: list[str], common: set[str], width: int) -> str:
    """Return the parts joined, those that all names have left out from the left while it is too long."""
    kept = [(part, part in common) for part in parts]
    while len(text := _join([part for part, _ in kept])) > width:
        at = next((n for n, (part, is_common) in enumerate(kept) if is_common and part != MORE), None)
        if at is None:
            return _cut(text, width)
        kept[at] = (MORE, True)
    return text


def _join(parts: list[str]) -> str:
    """Return the parts joined; a row of parts that were left out is one."""
    left: list[str] = []
    for part in parts:
        if part != MORE or not left or left[-1] != MORE:
            left.append(part)
    return SEPARATOR.join(left).replace(f"{SEPARATOR}{MORE}{SEPARATOR}", MORE).removesuffix(f"{SEPARATOR}{MORE}")


def _cut(name: str, width: int) -> str:
    """Return a name with its middle left out; its end, which holds the seed and the hash, is the longer part."""
    if len(name) <= width:
        return name
    end = (width - 1) * 3 // 5
    return f"{name[: width - 1 - end]}{MORE}{name[-end:]}"
