"""The traceback of a bug says where it is, and nothing of what the data said."""

from __future__ import annotations

import pytest

from cxrssl.core.traces import format_error, mask_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'10000032'", "…"),
        ("could not convert string to float: 'Jones, Ann'", "could not convert string to float: …"),
        ('bad "a long name" of 2151-03-02 08:05', "bad … of … …:…"),
        ("files/p10/p10000032/s50414267.jpg not found", "… not found"),
        ("subject Jones-Smith (10000032)", "subject … (…)"),
        ("index 3 is out of bounds for axis 0", "index … is out of bounds for axis …"),
        ("list index out of range", "list index out of range"),
        ("", ""),
    ],
)
def test_words_of_a_message_are_kept_and_values_are_not(text: str, shown: str) -> None:
    assert mask_values(text) == shown


EMPTY: dict[str, str] = {}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words for subject 10000032")


def fail(kind: str) -> None:
    try:
        EMPTY["10000032"]
    except KeyError as error:
        if kind == "cause":
            raise ValueError("film 10000032 of Jones") from error
        if kind == "group":
            raise ExceptionGroup("Jones had two", [error, TypeError("10000032 and 'x'")]) from None
        raise Unspeakable from error


@pytest.mark.parametrize("kind", ["cause", "group", "unspeakable"])
def test_a_chain_of_errors_is_shown_with_places_types_and_source_lines(kind: str) -> None:
    with pytest.raises((ValueError, ExceptionGroup, Unspeakable)) as caught:
        fail(kind)
    text = format_error(caught.value)
    assert text.count('EMPTY["10000032"]') == 1  # a line of the program
    rest = text.replace('EMPTY["10000032"]', "").replace('"film 10000032 of Jones"', "").replace('"Jones had two"', "")
    rest = rest.replace("\"10000032 and 'x'\"", "")
    assert "10000032" not in rest
    assert "Jones" not in rest
    assert rest.index("KeyError: …") < rest.rindex("Traceback (most recent call last)")
    assert type(caught.value).__name__ in rest.splitlines()[-1]
    assert f'File "{__file__}", line ' in rest
