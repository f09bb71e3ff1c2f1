"""Names of runs in a narrow column."""

from __future__ import annotations

import random

from cxrssl.core.columns import cell_width, cut_middle
from cxrssl.core.text import plain
from cxrssl.results.naming import shorten_names
from tests.hostile import hostile_texts

ABLATION = [
    f"demo-{world}-controls.{arm}-vit-s{seed}"
    for world in ("look", "none")
    for arm in ("both", "paper")
    for seed in (0, 1)
]


def test_names_that_fit_stay_as_they_are() -> None:
    assert shorten_names(ABLATION, 40) == ABLATION
    assert shorten_names(["a-b", "a-c", "a-b"], 3) == ["a-b", "a-c", "a-b"]
    assert shorten_names([], 5) == []


def test_what_all_names_share_goes_first_and_what_differs_stays() -> None:
    shown = shorten_names(ABLATION, 20)
    assert (shown[0], shown[2]) == ("…look…both-vit-s0", "…look…paper-vit-s0")
    assert shorten_names(ABLATION, 26)[0] == "demo-look…both-vit-s0"
    assert len(set(shown)) == len(ABLATION)


def test_the_digest_goes_before_anything_else_where_names_differ_without_it() -> None:
    made = [f"nih-study.{arm}-vit-micro-s{seed}" for arm in ("vanilla", "record") for seed in (0, 1)]
    names = [f"{name}-{number:08x}" for number, name in enumerate(made)]
    assert shorten_names(names, 39) == names
    assert shorten_names(names, 31) == [f"{name}…" for name in made]
    assert shorten_names(names, 24)[0] == "nih…vanilla-vit…s0…"
    again = [*names, f"{made[0]}-0000abcd"]
    assert shorten_names(again, 28)[::4] == ["nih…vanilla-vit…s0-00000000", "nih…vanilla-vit…s0-0000abcd"]


def test_where_names_share_no_word_the_middle_goes_or_what_is_before_their_difference() -> None:
    assert cut_middle("mimic-msn+sex+age-vit-tiny-s0-1a2b3c4d", 24) == "mimic-msn+se…s0-1a2b3c4d"
    assert shorten_names(["only-one-run-of-a-long-name"], 12) == ["only-o…-name"]
    assert shorten_names(["a" * 40 + "x" + "b" * 40, "a" * 40 + "y" + "b" * 40], 12) == ["…aaxbbbbbbb…", "…aaybbbbbbb…"]


def test_names_that_so_few_places_cannot_tell_apart_take_more() -> None:
    names = [f"{'a' * 30}{first}{'b' * 30}{second}{'c' * 30}" for first in "xy" for second in "xy"]
    assert shorten_names(names, 12)[0] == "…aax" + "b" * 30 + "x…"
    names = ["名前" * 20 + "甲" + "乙" * 20, "名前" * 20 + "丙" + "乙" * 20]
    assert shorten_names(names, 12) == ["…名前甲乙乙…", "…名前丙乙乙…"]


def test_no_two_names_become_one_and_none_is_longer_than_it_was() -> None:
    rng = random.Random(1)
    hostile = sorted({plain(text.replace("\n", "")) for text in hostile_texts(300, 0)})
    for _ in range(200):
        made = ["-".join(rng.choice("abc") * rng.randrange(1, 9) for _ in range(rng.randrange(1, 7))) for _ in range(9)]
        names = made + rng.sample(hostile, 9)
        short = shorten_names(names, rng.randrange(0, 30))
        assert len(set(short)) == len(set(names))
        assert all(cell_width(after) <= max(cell_width(name), 2) for name, after in zip(names, short, strict=True))
        assert not set("".join(short)) & set("\x1b\x07\x9b\u202e\u200b")
