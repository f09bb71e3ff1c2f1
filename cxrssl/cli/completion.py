"""What a shell offers when Tab is pressed: cohorts and runs of the workspace, recipes, keys of recipes and machines.

In: the beginning of a word, and the options before it. Out: whole words.
Never: an error, whatever the workspace holds; a heavy import, or a name that a shell reads as more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from cxrssl.core.workspace import NAME_PATTERN, Workspace

Complete = Callable[[typer.Context, str], list[str]]


def _completes(find_words: Callable[[Workspace], Iterable[str]]) -> Complete:
    """Return a completion that offers the words that begin as typed, and nothing when they cannot be found."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            words = list(find_words(_workspace_of(ctx)))
        except Exception:  # a shell has no place for it
            return []
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _workspace_of(ctx: typer.Context) -> Workspace:
    return Workspace(Path(ctx.params["workspace"]).absolute())


def _safe(names: Iterable[str]) -> list[str]:
    """Return the names of folders that `check_name` allows: some shells evaluate what they are offered."""
    return [name for name in names if NAME_PATTERN.fullmatch(name)]


@_completes
def complete_cohort(workspace: Workspace) -> list[str]:
    return _safe(workspace.cohort_names())


@_completes
def complete_run(workspace: Workspace) -> list[str]:
    return _safe(workspace.run_ids())


@_completes
def complete_cohort_or_run(workspace: Workspace) -> list[str]:
    return _safe([*workspace.cohort_names(), *workspace.run_ids()])


@_completes
def complete_recipe(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.load import recipe_names

    return recipe_names()


@_completes
def complete_grid(workspace: Workspace) -> list[str]:
    from cxrssl.ablate.grid import grid_names

    return grid_names()


@_completes
def complete_recipe_or_run(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.load import recipe_names

    return [*recipe_names(), *_safe(workspace.run_ids())]


@_completes
def complete_recipe_key(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.keys import recipe_keys

    return list(dict.fromkeys(f"{key.name}=" for key in recipe_keys()))


@_completes
def complete_machine_key(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.keys import machine_keys

    return [f"{key.name}=" for key in machine_keys()]


@_completes
def complete_backbone(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.settings import BACKBONES

    return list(BACKBONES)


@_completes
def complete_device(workspace: Workspace) -> list[str]:
    from cxrssl.recipe.keys import machine_keys

    return list(next(key.options for key in machine_keys() if key.name == "device"))
