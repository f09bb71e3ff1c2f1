"""Recipes: unknown keys name the nearest or their home, the hash depends on values alone, flags and TOML are one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cli.pretrain import recipe_changes
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.recipe.load import load_recipe, recipe_names
from cxrssl.recipe.settings import Recipe


@pytest.mark.parametrize(
    ("override", "what", "hint"),
    [
        ("views.focl_px=32", "focl_px", 'nearest is "focal_px"'),
        ("view.focal_px=32", "view", 'nearest is "views"'),
        (
            "views.mask_frac=0.3",
            '"mask_frac" in [views]',
            "of a recipe: cxrssl pretrain --set objective.mask_frac",
        ),
        ("focal_px=32", 'unknown key "focal_px"', 'it is "views.focal_px" of a recipe'),
        (
            "train.micro_batch=4",
            '"micro_batch" in [train]',
            "machine: cxrssl pretrain --machine micro_batch=VALUE",
        ),
        ("on_alarm=stop", '"on_alarm"', "--machine on_alarm=VALUE"),
        ("views.focal_px=97", "not a multiple", ""),
        ("train.lr=fast", "must be a number", ""),
        ("train.num_epochs=1.5", "must be a whole number", ""),
        ("objective.mask_frac=2", "from 0.0 to 0.95", ""),
        ("model.backbone=vit-tinny", "vit-tinny", 'nearest is "vit-tiny"'),
        ("views.global_scale=[0.9, 0.3]", "upside down", ""),
        ("ehr.embed_dim=64", '"ehr.embed_dim" has no effect: "ehr.features" is empty', "leave"),
        ("train.lr=nan", "cannot be used for training", ""),
        ("objective.queue_size=100", "not a multiple of", "whole batches"),
        ("objective.name=mns", '"objective.name" cannot be "mns"', 'nearest is "msn"'),
        ("objective.name=[]", '"objective.name" cannot be "[]"', "msn"),
        ("focal_px", "not a setting", "--set section.key=value"),
        (f"train.seed={'9' * 5000}", "must be a whole number", ""),
        (f"train.lr=0x{'f' * 5000}", "a number of 20,000 bits", ""),
        (f"train.lr={'[' * 5000}", "must be a number", ""),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_nearest_name(override: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("strict", [override])
    assert what in error.value.what
    assert hint in error.value.hint
    assert len(error.value.what) < 200


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[train\nlr = 1")
    with pytest.raises(ConfigError, match="line 1"):
        load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe(str(tmp_path / "absent.toml"))


def test_flags_override_a_file_also_with_zero_and_a_table_must_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[train]\nseed = 7")
    assert load_recipe(str(tmp_path / "r.toml"), changes=recipe_changes(seed=0)).train.seed == 0
    assert load_recipe(str(tmp_path / "r.toml"), changes=recipe_changes()).train.seed == 7
    (tmp_path / "r.toml").write_text('ehr = "demo"')
    for changes in (recipe_changes(), recipe_changes(ehr="sex")):
        with pytest.raises(ConfigError, match='"ehr" must be a table'):
            load_recipe(str(tmp_path / "r.toml"), changes=changes)


def test_the_hash_is_stable_under_key_order_comments_and_written_defaults(tmp_path: Path) -> None:
    expected = load_recipe("strict").sha256
    tables = load_recipe("strict").to_dict()
    del tables["ehr"]
    rng = random.Random(0)
    for _ in range(50):
        sections = list(tables)
        rng.shuffle(sections)
        lines = []
        for section in sections:
            items = list(tables[section].items())
            rng.shuffle(items)
            lines.append(f"[{section}]  # {rng.random()}")
            for key, value in items:
                text = str(value).lower() if isinstance(value, bool) else repr(value)
                lines.append(f"{key} = {text.replace('(', '[').replace(')', ']')}")
        (tmp_path / "r.toml").write_text("\n".join(lines))
        assert load_recipe(str(tmp_path / "r.toml")).sha256 == expected


def test_every_recipe_of_the_package_loads_and_round_trips() -> None:
    assert set(recipe_names()) == {"demo", "finetune", "paper", "strict"}
    for name in recipe_names():
        recipe = load_recipe(name)
        assert build_settings(Recipe, recipe.to_dict()) == recipe
        assert build_settings(Recipe, json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_from_before_objectives_had_names_is_one_of_msn() -> None:
    recipe = load_recipe("paper")
    stored = recipe.to_dict()
    del stored["objective"]["name"]
    assert build_settings(Recipe, stored) == recipe
    assert recipe.to_dict()["objective"]["name"] == "msn"


def test_the_paper_recipe_is_what_was_published() -> None:
    """Source: the released settings and code of nyuad-cai/CXR-EHR-MSN."""
    paper = load_recipe("paper").to_dict()
    published: dict[str, dict[str, Any]] = {
        "model": {"backbone": "vit-tiny-6h"},
        "views": {"global_px": 224, "focal_px": 96, "num_random": 1, "num_focal": 10},
        "objective": {"num_prototypes": 1024, "train_prototypes": False, "mask_frac": 0.15, "mask_focal": True},
        "train": {
            "lr": 1e-4, "weight_decay_start": 1e-3, "weight_decay_final": 1e-3, "ema_start": 0.996,
            "ema_final": 0.996, "batch_size": 64, "rows": "all",
        },
    }  # fmt: skip
    for section, values in published.items():
        assert values == {key: paper[section][key] for key in values}
