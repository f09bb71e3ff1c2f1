"""Every key of recipes and machines: bounds that are kept, words that explain it, conditions that are enforced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cxrssl.core.errors import ConfigError
from cxrssl.recipe.keys import Key, machine_keys, recipe_keys
from cxrssl.recipe.load import load_machine, load_recipe

KEYS = recipe_keys() + machine_keys()
IDLE = {
    "ehr.missing": ("paper", []),
    "ehr.may_use_outcomes": ("true", []),
    "ehr.embed_dim": ("64", []),
    "ehr.fusion": ("film", []),
    "ehr.start": ("random", []),
    "ehr.branch": ("both", []),
    "ehr.dropout": ("0.5", []),
    "ehr.lr_mult": ("0.5", []),
    "ehr.predict_weight": ("2", []),
    "ehr.predict_start": ("0.5", []),
    "ehr.predict_gate": ("skill", []),
    "ehr.control": ("shuffled", []),
    "views.focal_px": ("48", ["views.num_focal=0"]),
    "views.focal_scale": ("[0.1, 0.2]", ["views.num_focal=0"]),
    "objective.queue_size": ("64", ["objective.sinkhorn_iters=0", "objective.memax_weight=0"]),
    "objective.mask_frac": ("0.3", ["views.num_random=0"]),
    "objective.mask_focal": ("true", ["objective.mask_frac=0"]),
    "objective.hide_last_patch": ("true", ["objective.mask_frac=0"]),
    "objective.label_draw": ("1", ["objective.name=finetune"]),
    "train.lr_start_frac": ("0.5", ["train.warmup_frac=0"]),
    "train.lr_final_frac": ("0.5", ["train.warmup_frac=1"]),
    "train.decay_all": ("true", ["train.weight_decay_start=0", "train.weight_decay_final=0"]),
    "train.extend_schedule": ("hold", []),
    "deterministic": ("true", ["device=cpu"]),
}
"""A value of each key that has a condition, and settings under which the condition fails."""
ACTS = {
    "ehr": ['ehr.features=["sex"]', 'ehr.predict=["sex"]'],
    "objective.label_draw": ["objective.name=finetune", "objective.label_frac=0.5"],
    "train.extend_schedule": ["train.extends=mimic-msn"],
}
"""Settings under which the keys of a section, or one key, have an effect, where the defaults do not do."""
REASON = {
    "ehr.features": '"ehr.features" is empty',
    "ehr.predict": '"ehr.predict" is empty',
    "ehr.features or ehr.predict": '"ehr.features" is empty and "ehr.predict" is empty',
    "ehr.missing != paper": '"ehr.missing" is paper',
    "views.num_focal": '"views.num_focal" is 0',
    "objective.sinkhorn_iters or objective.memax_weight": '"objective.sinkhorn_iters" is 0 and "objective.memax_weight',
    "views.num_random or objective.mask_focal": '"views.num_random" is 0 and "objective.mask_focal" is false',
    "objective.mask_frac": '"objective.mask_frac" is 0.0',
    "objective.label_frac < 1": '"objective.label_frac" is 1.0',
    "train.extends": '"train.extends" is empty',
    "train.warmup_frac": '"train.warmup_frac" is 0.0',
    "train.warmup_frac < 1": '"train.warmup_frac" is 1.0',
    "train.weight_decay_start or train.weight_decay_final": '"train.weight_decay_start" is 0.0 and "train.weight_decay',
    "device != cpu": '"device" is cpu',
}


def load(key: Key, *overrides: str) -> object:
    return load_recipe("strict", overrides) if key.section else load_machine(overrides)


def refusal(key: Key, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(key, *overrides)
    return caught.value


def wrong_values(key: Key) -> Iterator[str]:
    yield from ("nan", "inf", "-inf", "{}", "1979-05-27", "[[1]]")
    if key.kind == "whole number":
        low, high = (int(word) for word in key.limits.split()[1::2])
        yield from (str(low - 1), str(high + 1), "1.5", "true", "word", "[1]")
    elif key.kind == "number":
        low_limit, high_limit = (float(word) for word in key.limits.split()[1::2])
        yield from (str(low_limit - 1), str(high_limit + 1), "true", "word", "[1.0]")
    elif key.kind == "true or false":
        yield from ("1", "0", "word", "[true]")
    elif key.kind == "list of 2 numbers":
        low_limit, high_limit = (float(word) for word in key.limits.split()[1::2])
        yield from (f"[{low_limit - 1}, 0.5]", f"[0.5, {high_limit + 1}]", "[0.5]", "[0.5, nan]", "0.5", '["a", "b"]')
    elif key.kind == "list of words":
        yield from ("word", "1", "[1]")
    else:
        assert key.kind == "word"
        yield from ("1", "true", '["word"]', *(['"no such word"'] if key.options else []))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_value_out_of_bounds_or_of_another_type_is_a_sentence_that_names_the_key(key: Key) -> None:
    for value in wrong_values(key):
        if key.kind == "word" and not key.options and value in ("nan", "inf", "-inf"):
            continue  # a TOML number, so not a word; asked for below with quotes it would be one
        error = refusal(key, f"{key.name}={value}")
        assert f'"{key.name}"' in error.what, (value, error.what)
        assert "\n" not in error.what


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_numbers_have_bounds_and_every_key_says_what_it_means(key: Key) -> None:
    assert len(key.doc) > 10
    assert key.doc[0].isupper() or key.doc[0] == "`"
    assert key.doc.endswith(".")
    if "number" in key.kind:
        assert key.limits.startswith("from ")
    for condition in key.needs:
        for term in condition.split(" or "):
            assert any(other.name == term.split()[0] for other in KEYS), term


def test_every_condition_stands_in_the_table() -> None:
    assert set(IDLE) == {key.name for key in KEYS if key.needs}
    assert set(REASON) == {condition for key in KEYS for condition in key.needs}


@pytest.mark.parametrize("name", IDLE)
def test_a_key_without_effect_is_an_error_that_names_why(name: str) -> None:
    key = next(key for key in KEYS if key.name == name)
    value, others = IDLE[name]
    error = refusal(key, *others, f"{name}={value}")
    assert any(error.what.startswith(f'"{name}" has no effect: {REASON[need]}') for need in key.needs), error.what
    assert name in error.hint
    load(key, *others)
    load(key, f"{name}={value}", *ACTS.get(name, ACTS.get(key.section, [])))


def test_the_other_condition_of_a_key_is_enforced_too() -> None:
    for number, other in {"views.num_focal": "objective.mask_focal", "views.num_random": "objective.mask_frac"}.items():
        key = next(key for key in KEYS if key.name == other)
        error = refusal(key, f"{number}=0", f"{other}={IDLE[other][0]}")
        assert f'"{other}" has no effect: "{number}" is 0' in error.what
    load_recipe("strict", ["views.num_random=0", "objective.mask_focal=true", "objective.mask_frac=0.3"])


@pytest.mark.parametrize(
    ("word", "what", "hint"),
    [
        ("micro_bach=4", 'unknown key "micro_bach"', 'nearest is "micro_batch"'),
        ("batch_size=4", 'unknown key "batch_size"', "--set train.batch_size=VALUE"),
        ("train.lr=4", 'unknown key "train"', ""),
        ("on_alarm=stopp", '"on_alarm" cannot be "stopp"', "known: warn, stop"),
        ("device=gpu", '"device" cannot be "gpu"', "auto, cpu, cuda"),
        ("micro_batch", '"micro_batch" is not a setting', "write --machine key=value"),
    ],
)
def test_a_wrong_setting_of_the_machine_is_one_sentence_with_the_nearest_name(word: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_machine([word])
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_what_the_machine_is_given_is_what_it_has() -> None:
    machine = load_machine(["micro_batch=4", "checkpoint_every=7", "stall_s=5", "feed=ahead", "deterministic=true"])
    assert (machine.micro_batch, machine.checkpoint_every, machine.probe_every) == (4, 7, None)
    assert (machine.stall_s, machine.feed, machine.deterministic, machine.device) == (5.0, "ahead", True, "auto")
    assert load_machine(["device=cpu"], device="cuda").device == "cpu"
