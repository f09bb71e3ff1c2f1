"""Small cells: counts of fewer than ten people, which what may be shared does not show, nor what would tell them.

In: counts with the subjects behind them. Out: the same counts; where they are hidden they are written in words wherever
they are written, and stay numbers for sums. The workspace keeps all of them in full.
Source: the cell size policy of the US Centers for Medicare & Medicaid Services hides cells of 1 to 10 people, and
whatever such a cell can be computed from; here they are cells of 1 to 9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.report.lines import Code, Line

SmallCells = Literal["hide", "show"]
SMALL = 10
HIDDEN = f"under {SMALL}"
NOTE: Line = (
    f"{HIDDEN}: a count of 1 to {SMALL - 1} films or subjects, or of films of so few subjects. "
    "About: rounded to ten, as the exact number would tell one of those. ",
    Code("cxrssl report --small-cells show"),
    " shows all, and must not be shared.",
)
SHOWN: Line = "Small cells are shown: counts of fewer than ten subjects stand in this report, which must not be shared."
DIGITS = 3
"""After the point, of a number beside hidden counts: what people read of it."""
ROUNDED = ("value", "lo", "hi", "p", "p_holm")
_IN_A_SENTENCE = re.compile(
    r"(?<![\d.,])[1-9] ((?:[a-z]+ ){0,2})(film|subject|study|studie|image id|file|link|death|stay|person|row)(s?)\b"
)


@dataclass(frozen=True)
class Count:
    """How many films, or subjects, there are."""

    num: int
    subjects: int | None = None
    """Whose films they are; None where it is not known, and then the films count."""

    @property
    def is_small(self) -> bool:
        return 0 < self.num < SMALL or 0 < (self.subjects or 0) < SMALL


class HiddenCount(int):
    """A count that is written as `text`, in every format."""

    text: str

    def __new__(cls, num: int, text: str = HIDDEN) -> HiddenCount:
        made = super().__new__(cls, num)
        made.text = text
        return made

    def __format__(self, spec: str) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __neg__(self) -> HiddenCount:
        return HiddenCount(-int(self), self.text if self.text == HIDDEN else f"-{self.text}")


def hide_small(counts: Sequence[Count], rest: Sequence[Count] = (), *, small: SmallCells) -> list[int]:
    """Return counts that stand together: small ones hidden, and then the others in tens.

    `rest` are counts that can be had from these by subtraction.
    """
    if small == "show" or not any(each.is_small for each in (*counts, *rest)):
        return [each.num for each in counts]
    return [_hide(each) for each in counts]


def hide_in_row(values: Mapping[str, Any], num_films: int, small: SmallCells) -> dict[str, Any]:
    """Return a row of results with its small cells hidden, and then no digits from which they could be computed."""
    with_it, without_it = values["num_pos_subjects"], values["num_neg_subjects"]
    scored, pos = values["num_scored"], values["num_pos"]
    counts = {"num_scored": Count(scored), "num_subjects": Count(values["num_subjects"])}
    rest = [Count(num_films - scored)]
    if pos is not None:
        counts |= {"num_pos": Count(pos, with_it), "num_pos_subjects": Count(with_it or 0)}
        counts |= {"num_neg_subjects": Count(without_it or 0)}
        rest.append(Count(scored - pos, without_it))
    shown = dict(zip(counts, hide_small(list(counts.values()), rest, small=small), strict=True))
    if any(isinstance(each, HiddenCount) for each in shown.values()):
        rounded = {key: values[key] and round(values[key], DIGITS) for key in ROUNDED if key in values}
        return {**values, **shown, **rounded}
    return {**values, **shown}


def hide_in_sentence(text: str, small: SmallCells) -> str:
    """Return a sentence such as "3 test subjects took part" with its small counts hidden."""
    if small == "show":
        return text
    return _IN_A_SENTENCE.sub(lambda found: f"{HIDDEN} {found[1]}{_plural(found[2])}", text)


def parse_small_cells(text: str) -> SmallCells:
    """Return the choice of a user. Raises: UsageError."""
    known = get_args(SmallCells)
    if text not in known:
        raise UsageError(f'--small-cells is "{plain(text, 40)}"', hint=nearest_hint(text, known))
    return cast(SmallCells, text)


def _hide(count: Count) -> int:
    if not count.num:
        return count.num
    tens = round(count.num / SMALL) * SMALL
    return HiddenCount(count.num, HIDDEN if count.is_small else f"about {tens:,}")


def _plural(noun: str) -> str:
    return "persons" if noun == "person" else "studies" if noun.startswith("stud") else f"{noun}s"
