"""Recipes: unknown keys name the nearest, the hash depends on values alone, flags and TOML mean the same."""

import random

import pytest

from cxrssl.cli.pretrain import recipe_changes
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.recipe import Recipe, load_recipe, recipe_names


@pytest.mark.parametrize(
    ("override", "what", "hint"),
    [
        ("views.focl_px=32", "focl_px", "focal_px"),
        ("view.focal_px=32", "view", "views"),
        ("views.focal_px=97", "not a multiple", ""),
        ("train.lr=fast", "must be a number", ""),
        ("train.num_epochs=1.5", "must be a whole number", ""),
        ("objective.mask_frac=2", "from 0.0 to 0.95", ""),
        ("model.backbone=vit-tinny", "vit-tinny", "vit-tiny"),
        ("views.global_scale=[0.9, 0.3]", "upside down", ""),
        ("ehr.embed_dim=64", "no effect without EHR features: add --ehr", ""),
        ("train.lr=nan", "no number to train with", ""),
        ("objective.queue_size=100", "not a multiple of", "whole batches"),
        ("focal_px", "not a setting", "section.key=value"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_nearest_name(override, what, hint):
    with pytest.raises(ConfigError) as error:
        load_recipe("strict", [override])
    assert what in error.value.what
    assert hint in error.value.hint


def test_a_file_that_is_not_toml_says_where(tmp_path):
    (tmp_path / "r.toml").write_text("[train\nlr = 1")
    with pytest.raises(ConfigError, match="line 1"):
        load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe(str(tmp_path / "absent.toml"))


def test_flags_override_a_file_also_with_zero_and_a_table_must_be_a_table(tmp_path):
    (tmp_path / "r.toml").write_text("[train]\nseed = 7")
    assert load_recipe(str(tmp_path / "r.toml"), changes=recipe_changes(seed=0)).train.seed == 0
    assert load_recipe(str(tmp_path / "r.toml"), changes=recipe_changes()).train.seed == 7
    (tmp_path / "r.toml").write_text('ehr = "demo"')
    for changes in (recipe_changes(), recipe_changes(ehr="sex")):
        with pytest.raises(ConfigError, match='"ehr" must be a table'):
            load_recipe(str(tmp_path / "r.toml"), changes=changes)


def test_the_hash_is_stable_under_key_order_comments_and_written_defaults(tmp_path):
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


def test_every_recipe_of_the_package_loads_and_round_trips():
    assert set(recipe_names()) == {"demo", "paper", "strict"}
    for name in recipe_names():
        recipe = load_recipe(name)
        assert build_settings(Recipe, recipe.to_dict()) == recipe


def test_the_paper_recipe_is_what_was_published():
    """Source: the released settings and code of nyuad-cai/CXR-EHR-MSN."""
    paper = load_recipe("paper")
    assert paper.model.backbone == "vit-tiny-6h"
    assert (paper.views.global_px, paper.views.focal_px) == (224, 96)
    assert (paper.views.num_random, paper.views.num_focal) == (1, 10)
    assert (paper.objective.num_prototypes, paper.objective.train_prototypes) == (1024, False)
    assert (paper.objective.mask_frac, paper.objective.mask_focal) == (0.15, True)
    assert (paper.train.lr, paper.train.weight_decay_start, paper.train.weight_decay_final) == (1e-4, 1e-3, 1e-3)
    assert (paper.train.ema_start, paper.train.ema_final, paper.train.batch_size) == (0.996, 0.996, 64)
    assert paper.train.rows == "all"
