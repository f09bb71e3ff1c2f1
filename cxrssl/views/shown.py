"""Views of one film as a person looks at them, and their way from one process to another. Never imports torch.

In: grey values. Out: the same from a stream of bytes: a line of JSON, then pixels and masks.
Shape letters: P side of a view, G patches along it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AskedViews:
    """Which views a person wants to see."""

    root: str
    """Of the workspace."""
    cohort: str
    row: int
    run_id: str = ""
    """"" for the default recipe."""
    epoch: int = 0
    is_covered: bool = True
    """Whether the corners, where text is burnt in, are covered before the film is cut."""


@dataclass(frozen=True, eq=False)
class ShownView:
    """One view."""

    purpose: str
    number: int
    """Among those of its purpose, from 1."""
    pixels_PP: NDArray[np.uint8]
    is_kept_GG: NDArray[np.bool_] | None
    """Patches that the encoder sees; None where it sees all."""
    area_frac: float
    """Of the film."""
    is_flipped: bool


@dataclass(frozen=True, eq=False)
class ShownViews:
    """All views of a film in one step."""

    views: tuple[ShownView, ...] = ()
    run_id: str = ""
    """"" where they are those of the default recipe."""
    epoch: int = 0
    num_epochs: int = 0
    step: int = 0
    place: int = 0
    """In the batch of this step."""
    batch_size: int = 0
    is_trained_on: bool = False
    """Whether the run has this film in this step; else it is cut as if it were alone in the epoch's first batch."""
    why: str = ""
    """Why it is not, or why there is no view."""


def send_views(file: IO[bytes], shown: ShownViews) -> None:
    """Write views into a stream."""
    about = {name: value for name, value in vars(shown).items() if name != "views"}
    heads: list[dict[str, Any]] = []
    blocks: list[bytes] = []
    for view in shown.views:
        kept = view.is_kept_GG
        sides = {"px": len(view.pixels_PP), "grid": 0 if kept is None else len(kept)}
        said = {"purpose": view.purpose, "number": view.number, "area_frac": view.area_frac}
        heads.append({**said, **sides, "is_flipped": view.is_flipped})
        blocks += [view.pixels_PP.tobytes(), b"" if kept is None else kept.tobytes()]
    file.write(json.dumps({**about, "views": heads}).encode() + b"\n" + b"".join(blocks))
    file.flush()


def receive_views(file: IO[bytes]) -> ShownViews:
    """Read views from a stream that `send_views` wrote. Raises: EOFError when it ends before them."""
    line = file.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the views end early")
    about = json.loads(line)
    views = tuple(_receive_view(file, head) for head in about.pop("views"))
    return ShownViews(views, **about)


def _receive_view(file: IO[bytes], head: dict[str, Any]) -> ShownView:
    px, grid = head.pop("px"), head.pop("grid")
    pixels = np.frombuffer(_take(file, px * px), np.uint8).reshape(px, px)
    kept = np.frombuffer(_take(file, grid * grid), np.bool_).reshape(grid, grid) if grid else None
    return ShownView(pixels_PP=pixels, is_kept_GG=kept, **head)


def _take(file: IO[bytes], num_bytes: int) -> bytes:
    found = file.read(num_bytes)
    if len(found) < num_bytes:
        raise EOFError("the views end early")
    return found
