"""`objective.name` chooses the class of the section; a further objective is one entry, also one that a test makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cxrssl.core.config import build_settings, setting
from cxrssl.core.errors import ConfigError
from cxrssl.recipe.keys import recipe_keys
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.objectives import OBJECTIVES, MsnSettings, ObjectiveSettings
from cxrssl.recipe.settings import Recipe


@dataclass(frozen=True)
class ToySettings(ObjectiveSettings):
    idle: ClassVar[tuple[str, ...]] = ("views.num_focal", "views.focal_px", "views.focal_scale")
    name: str = "toy"
    mask_frac: float = setting(0.6, low=0.0, high=0.9)
    """Share of the patches that is hidden."""
    depth: int = setting(4, low=1, high=24, needs="objective.mask_frac")
    """Blocks of the decoder."""

    def check(self, values: Mapping[str, Any]) -> None:
        if self.depth > values["train.batch_size"]:
            raise ConfigError("the toy is too deep")


@pytest.fixture
def toy() -> Iterator[None]:
    OBJECTIVES["toy"] = ToySettings
    yield
    del OBJECTIVES["toy"]


def refuse(*overrides: str, recipe: str = "strict") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe, overrides)
    return caught.value


@pytest.mark.usefixtures("toy")
def test_the_name_chooses_the_class_and_what_the_package_says_of_another_is_dropped() -> None:
    assert load_recipe("strict").objective == MsnSettings(num_prototypes=64)
    assert load_recipe("strict", ["objective.name=toy"]).objective == ToySettings()
    recipe = load_recipe("paper", ["objective.name=toy", "objective.depth=2"])
    assert recipe.objective == ToySettings(depth=2)
    assert recipe.train == load_recipe("paper").train
    assert build_settings(Recipe, recipe.to_dict()) == recipe
    assert recipe.sha256 != load_recipe("paper").sha256


@pytest.mark.usefixtures("toy")
def test_a_key_of_another_objective_names_its_owner(tmp_path: Path) -> None:
    error = refuse("objective.depth=2")
    assert error.what == '"objective.depth" belongs to objective "toy", and this is "msn"'
    assert error.hint == 'leave it out, or set objective.name to "toy"'
    assert (
        'belongs to objective "msn", and this is "toy"' in refuse("objective.name=toy", "objective.queue_size=0").what
    )
    mine = tmp_path / "mine.toml"
    mine.write_text('[objective]\nname = "toy"\nnum_prototypes = 8\n')
    assert '"objective.num_prototypes" belongs to' in refuse(recipe=str(mine)).what


@pytest.mark.usefixtures("toy")
def test_a_recipe_of_ones_own_can_be_under_another_objective(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[objective]\nnum_prototypes = 8\n[views]\nfocal_px = 48\n")
    recipe = load_recipe(str(mine), ["objective.name=toy"])
    assert recipe.objective == ToySettings()
    assert recipe.views.focal_px == 48, "which the toy makes no use of"
    assert "makes no use of it" in refuse("objective.name=toy", "views.num_focal=3", recipe=str(mine)).what


@pytest.mark.usefixtures("toy")
def test_bounds_conditions_and_contradictions_of_a_registered_objective_are_enforced() -> None:
    assert (
        '"objective.depth" is 99, but must be from 1 to 24' in refuse("objective.name=toy", "objective.depth=99").what
    )
    assert 'nearest is "depth"' in refuse("objective.name=toy", "objective.dpeth=9").hint
    idle = refuse("objective.name=toy", "objective.mask_frac=0", "objective.depth=2")
    assert idle.what == '"objective.depth" has no effect: "objective.mask_frac" is 0.0'
    unused = refuse("objective.name=toy", "views.focal_px=48")
    assert unused.what == '"views.focal_px" has no effect: objective "toy" makes no use of it'
    assert refuse("objective.name=toy", "train.batch_size=2").what == "the toy is too deep"
    load_recipe("strict", ["objective.name=toy", "model.patch_px=14"])  # no focal view, so no side that does not fit


@pytest.mark.usefixtures("toy")
def test_the_keys_of_a_registered_objective_are_listed_with_their_meaning() -> None:
    toys = {key.name: key for key in recipe_keys() if key.objective == "toy"}
    assert set(toys) == {"objective.mask_frac", "objective.depth"}
    assert toys["objective.depth"].doc == "Blocks of the decoder."
    choice = next(key for key in recipe_keys() if key.name == "objective.name")
    assert (choice.default, choice.options) == (
        "msn",
        ("msn", "dino", "mae", "simclr", "supervised", "finetune", "toy"),
    )
