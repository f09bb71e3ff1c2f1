"""`cxrssl recipe`: recipes shown, compared, and every key explained."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.completion import complete_recipe_or_run
from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, print_summary
from cxrssl.core.columns import wrap_rows
from cxrssl.core.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from cxrssl.recipe.keys import Key
    from cxrssl.recipe.settings import Recipe

WIDTH = 100
RecipeName = Annotated[
    str,
    typer.Argument(
        help="Recipe of the package, TOML file, or run id or its beginning.", autocompletion=complete_recipe_or_run
    ),
]

app = typer.Typer(
    help="List, show and compare recipes; explain every key.\n\nExample: cxrssl recipe diff strict paper",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that come with the package.

    Example: cxrssl recipe list
    """
    from cxrssl.recipe.load import describe_recipe, load_recipe, recipe_names

    recipes = [
        {"name": name, "about": describe_recipe(name), "sha256": load_recipe(name).sha256} for name in recipe_names()
    ]
    lines = wrap_rows([(recipe["name"], recipe["about"]) for recipe in recipes], WIDTH, "  ")
    print_summary({"recipes": recipes}, as_json, lines)


@app.command()
def show(name: RecipeName, workspace: WorkspacePath = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """Print a recipe, of the package, of a file or of a run, as TOML that `pretrain --recipe FILE.toml` takes.

    Example: cxrssl recipe show strict > mine.toml
    """
    from cxrssl.recipe.text import to_toml

    recipe = find_any_recipe(name, workspace)
    summary = {"name": name, "sha256": recipe.sha256, "recipe": recipe.to_dict()}
    print_summary(summary, as_json, to_toml(recipe).split("\n"))


@app.command()
def diff(
    first: RecipeName,
    second: RecipeName,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print the keys in which two recipes differ, and which of the values have no effect.

    Example: cxrssl recipe diff strict paper
    """
    from cxrssl.core.text import count_noun
    from cxrssl.recipe.text import find_differences, format_value

    differences = find_differences(*(find_any_recipe(name, workspace) for name in (first, second)))
    rows = [
        (found.key, *(f"{format_value(value) or '-'}{' (no effect)' * is_idle}" for value, is_idle in found.sides))
        for found in differences
    ]
    lines = [f"first   {first}", f"second  {second}", f"different in {count_noun(len(differences), 'key')}"]
    summary = {"first": first, "second": second, "differences": [asdict(found) for found in differences]}
    print_summary(summary, as_json, lines + wrap_rows(rows, WIDTH, "  "))


@app.command()
def keys(as_json: AsJson = False) -> None:
    """Print every key of recipes and of the machine: type, default, bounds, meaning and when it has an effect.

    Example: cxrssl recipe keys
    """
    from cxrssl.recipe.keys import machine_keys, recipe_keys

    recipe, machine = recipe_keys(), machine_keys()
    lines = ["recipe: cxrssl pretrain --set section.key=value", *_describe_sections(recipe)]
    lines += ["", "machine: cxrssl pretrain --machine key=value", *_describe_keys(machine)]
    summary = {"recipe": [key.to_dict() for key in recipe], "machine": [key.to_dict() for key in machine]}
    print_summary(summary, as_json, lines)


def find_any_recipe(name: str, workspace: Path) -> Recipe:
    """Return a recipe of the package, of a TOML file, or of a run of the workspace.

    Raises: ConfigError when there is none of that name, IntegrityError when a run's cannot be read.
    """
    from cxrssl.core.text import nearest_hint, plain
    from cxrssl.core.workspace import MOST_RUNS, Workspace
    from cxrssl.recipe.load import load_recipe, recipe_names

    if name in recipe_names() or name.endswith(".toml"):
        return load_recipe(name)
    place = Workspace(workspace.absolute())
    if not name or not any(run_id.startswith(name) for run_id in place.run_ids()):
        hint = nearest_hint(name, [*recipe_names(), *place.run_ids()], len(recipe_names()) + MOST_RUNS)
        raise ConfigError(f'no recipe and no run "{plain(name, 80)}"', hint=hint)
    return _read_run_recipe(place.find_run(name))


def _read_run_recipe(folder: Path) -> Recipe:
    from cxrssl.core.config import build_settings
    from cxrssl.recipe.settings import Recipe
    from cxrssl.records.file import read_json
    from cxrssl.records.run import RunFiles

    path = RunFiles(folder).description
    values = read_json(path)
    recipe = values.get("recipe") if isinstance(values, dict) else None
    if not isinstance(recipe, dict):
        raise IntegrityError(f"{path.name} holds no recipe", path)
    try:
        return build_settings(Recipe, recipe)
    except ConfigError as error:
        raise IntegrityError(f"this version cannot read the recipe of this run: {error.what}", path) from None


def _describe_sections(found: list[Key]) -> list[str]:
    """Return the lines about the keys of a recipe, by section and objective."""
    lines: list[str] = []
    for (section, objective), group in groupby(found, lambda key: (key.section, key.objective)):
        title = f"[{section}]" + (f' with name = "{objective}"' if objective else "")
        lines += ["", title, *_describe_keys(list(group))]
    return lines


def _describe_keys(found: list[Key]) -> list[str]:
    """Return the lines about keys: name, default, type and bounds, meaning, condition."""
    from cxrssl.recipe.text import format_value

    rows = []
    for key in found:
        kind = f"{key.kind} {key.limits}".rstrip() + (
            f": {', '.join(filter(None, key.options))}" if key.options else ""
        )
        needs = [f"Has an effect only with {' and with '.join(key.needs)}."] if key.needs else []
        words = " ".join([f"{kind}.", key.doc, *needs])
        rows.append((key.name.rpartition(".")[2], format_value(key.default) or "left out", words))
    return wrap_rows(rows, WIDTH, "  ")
