"""Names of runs in a narrow column."""

from __future__ import annotations

import random

from cxrssl.results.naming import shorten_names

ABLATION = [
    f"demo-{world}-controls.{arm}-vit-micro-s{seed}-{seed}{len(arm)}{len(world)}"
    for world in ("disease", "look")
    for arm in ("vanilla", "predict-skill", "predict")
    for seed in (0, 1)
]


def test_names_that_fit_stay_as_they_are() -> None:
    assert shorten_names(["a-b", "a-c", "a-b"], 3) == ["a-b", "a-c", "a-b"]


def test_what_all_names_share_goes_first_and_what_differs_stays() -> None:
    short = shorten_names(ABLATION, 36)
    assert max(map(len, short)) <= 36
    assert all(part in each for each, part in zip(short, ["disease"] * 6 + ["look"] * 6, strict=True))
    assert len(set(short)) == len(ABLATION)


def test_no_two_names_become_one() -> None:
    rng = random.Random(1)
    for _ in range(300):
        names = [
            "-".join(rng.choice("abc") * rng.randrange(1, 9) for _ in range(rng.randrange(1, 7))) for _ in range(9)
        ]
        short = shorten_names(names, rng.randrange(4, 30))
        assert len(set(short)) == len(set(names))
