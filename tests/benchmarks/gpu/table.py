"""One table of all results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.benchmarks.gpu.cases import GOALS

COLUMNS = (
    *(("films/s", 9), ("of goal", 8), ("step, ms", 9), ("waiting", 8)),
    *(("idle", 7), ("kernels", 8), ("GB/step", 8), ("GiB", 7)),
)
NAME_WIDTH = 58


def header() -> str:
    return f"{'':<{NAME_WIDTH}}" + "".join(f"{name:>{width}}" for name, width in COLUMNS)


def row(about: dict[str, Any]) -> str:
    """Return what is known of a case in a line."""
    found = about["found"]
    cells = [_cell(about, name) for name, _ in COLUMNS]
    text = "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()
    notes = list(_notes(found)) + ([f"failed: {about['error']}"] if "error" in about else [])
    return f"{about['name']:<{NAME_WIDTH}}" + "  ".join([text] * bool(text) + notes)


def _cell(about: dict[str, Any], column: str) -> str:
    found, case = about["found"], about["case"]
    profile = found.get("profile", {})
    goal = GOALS.get((case["backbone"], case["batch_size"])) if case["kind"] == "run" else None
    values: dict[str, tuple[float | None, str]] = {
        "films/s": (found.get("films_per_s"), ",.1f"),
        "of goal": (found["films_per_s"] / goal if goal and "films_per_s" in found else None, ".0%"),
        "step, ms": (found.get("step_ms"), ",.1f"),
        "waiting": (found.get("wait_frac"), ".2%"),
        "idle": (profile.get("shares", {}).get("gaps"), ".1%"),
        "kernels": (sum(profile.get("kernels", {}).values()) or None, ",.0f"),
        "GB/step": (found["step_bytes"] / 1e9 if found.get("step_bytes") else None, ",.2f"),
        "GiB": (found["peak_bytes"] / 2**30 if found.get("peak_bytes") else None, ",.2f"),
    }
    value, form = values[column]
    return "" if value is None else format(value, form)


def _notes(found: dict[str, Any]) -> Iterable[str]:
    """Yield in words what no column holds."""
    if "is_right" in found:
        yield "as wanted" if found["is_right"] else "NOT AS WANTED"
    if "away" in found:
        away, band = found["away"], found["band"]
        parts = [f"{name} {away[name]:.3f} of {band[name]:g}" for name in away]
        yield f"{found['num_steps']} steps, losses apart: {', '.join(parts)}"
    if "is_repeated" in found:
        yield "a second run " + ("is equal bit for bit" if found["is_repeated"] else "DIFFERS")
    if "is_resumed" in found:
        yield "a resumed one " + ("too" if found["is_resumed"] else "DIFFERS")
    if "first_losses_away" in found:
        yield f"{found['films_per_s_alone']:,.1f} alone, first losses {found['first_losses_away']:.4f} apart"
    if "films_per_s_each" in found:
        yield "each " + " and ".join(f"{rate:,.1f}" for rate in found["films_per_s_each"])
    if "num_cores" in found:
        yield f"{found['num_cores']} cores"
    if found.get("attention_kernels"):
        yield "attention: " + found["attention_kernels"][0]
    if num := sum(found.get("syncs", {}).values()):
        yield f"the host waited {num} times: {', '.join(found['syncs'])}"
