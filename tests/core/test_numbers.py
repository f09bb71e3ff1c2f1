"""Numbers that JSON lacks come back as they were, or as null where they mean "not defined"."""

from __future__ import annotations

import json
import math

from cxrssl.core.numbers import decode_number, encode_number, encode_numbers, is_count, number_of


def test_what_is_not_finite_is_named_or_null() -> None:
    value = {"a": math.nan, "b": [math.inf, {"c": -math.inf}], 3: (1.5, "nan", None)}
    assert encode_numbers(value) == {"a": "nan", "b": ["inf", {"c": "-inf"}], "3": [1.5, "nan", None]}
    nulled = encode_numbers(value, as_null=True)
    assert nulled == {"a": None, "b": [None, {"c": None}], "3": [1.5, "nan", None]}
    json.dumps(nulled, allow_nan=False)


def test_a_float_comes_back_from_its_name() -> None:
    for value in (math.inf, -math.inf, 0.1):
        assert decode_number(encode_number(value)) == value
    assert math.isnan(decode_number(encode_number(math.nan)))
    assert decode_number("loss") == "loss"


def test_a_number_too_large_to_draw_counts_as_not_finite() -> None:
    assert number_of(10**400) == number_of(1e308) == math.inf
    assert number_of(-(10**400)) == -math.inf
    assert math.isnan(number_of(True))
    assert math.isnan(number_of("7"))


def test_a_count_is_whole_and_neither_negative_nor_absurd() -> None:
    assert is_count(0)
    assert is_count(2**53 - 1)
    assert not any(is_count(value) for value in (-1, 2**53, True, 1.0, "1", None))
