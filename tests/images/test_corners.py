"""Corners of films are covered before a person sees them."""

from __future__ import annotations

import numpy as np

from cxrssl.images.corners import COVER, cover_corners


def test_corners_of_the_film_are_covered_and_not_those_of_its_padding() -> None:
    film = np.full((100, 100), 200, np.uint8)
    covered = cover_corners(film, (20, 0, 60, 100))
    assert (covered[:20] == 200).all()
    assert (covered[20:29, :30] == COVER).all()
    assert (covered[71:80, 70:] == COVER).all()
    assert (covered[29:71] == 200).all()
    assert (film == 200).all()
