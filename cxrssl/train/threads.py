"""How many CPU threads a run computes with. It is part of the arithmetic: sums are split by it.

In: the number asked for, the cores of this machine, the number that the run's checkpoint was made with.
Out: torch's number of threads, and a word where it is not the one asked for.
"""

from __future__ import annotations

import sys

import torch

from cxrssl.core.process import is_first, num_cores
from cxrssl.core.text import count_noun


def set_threads(asked: int, made_with: str | None = None) -> None:
    """Set torch's number of threads: `asked`, 0 for torch's own choice, at most one a core.

    `made_with` is that of the checkpoint which the run goes on from: it is kept unless another is asked for, which
    the checkpoint then refuses.
    """
    was = int(made_with) if made_with and made_with.isdecimal() else 0
    number = asked or was or torch.get_num_threads()
    if number > num_cores() and number != was:
        _say(f"{count_noun(num_cores(), 'thread')} instead of {number:,}: this machine has no more cores")
        number = num_cores()
    if not asked and was and was != torch.get_num_threads():
        _say(f"{count_noun(was, 'thread')}, as the checkpoint was made with, not the {torch.get_num_threads()} of now")
    if number != torch.get_num_threads():
        torch.set_num_threads(number)


def _say(what: str) -> None:
    if is_first():
        sys.stderr.write(f"cxrssl: note: {what}\n")
