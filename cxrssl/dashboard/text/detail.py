"""One run in words: what it is, how it does, what happened, what it left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from cxrssl.core.text import format_bytes, plain
from cxrssl.dashboard.detail import RunDetail
from cxrssl.dashboard.state import Measure
from cxrssl.dashboard.text.cells import NOTHING, clock_text, short_number, short_seconds, steps_text
from cxrssl.dashboard.text.sheet import Cell, Column, Sheet
from cxrssl.dashboard.text.sparks import spark
from cxrssl.dashboard.text.styles import STATE_STYLES, TROUBLE, WARNING
from cxrssl.results.show import describe_event

SYSTEM = (
    "films_per_s", "data_frac", "cpu_cores", "rss_mb", "memory_mb", "gpu_reserved_mb", "gpu_busy_frac",
    "disk_read_mb_per_s", "health_frac", "lr", "weight_decay", "ema_momentum", "grad_norm",
)  # fmt: skip
HEALTH = ("feature_rank", "feature_std", "prototype_usage", "output_usage", "target_entropy")
MEANINGS = {
    "films_per_s": "films a second",
    "data_frac": "share of the time that steps wait for films",
    "cpu_cores": "cores that the process keeps busy",
    "rss_mb": "memory that the process holds, MiB",
    "memory_mb": "the most that it has held, on the GPU if it has one, MiB",
    "gpu_reserved_mb": "memory that it has taken of the GPU, MiB",
    "gpu_busy_frac": "share of the time in which the GPU is at work",
    "disk_read_mb_per_s": "read from the disk, MiB a second; 0 from the cache",
    "health_frac": "share of the time that health checks take",
    "grad_norm": "norm of the gradient before clipping",
    "feature_rank": "directions that the features use",
    "feature_std": "spread of the features; near 0 is collapse",
    "prototype_usage": "share of the prototypes in use; near 0 is collapse",
    "output_usage": "share of the outputs in use; near 0 is collapse",
    "target_entropy": "of the targets; near 0 is collapse",
    "probe_auroc": "AUROC on val films during training; not a result",
}
NUM_EVENTS = 14
KEY_WIDTH = 30


def settings_sheet(detail: RunDetail, only_other: bool, width: int | None = None) -> Sheet:
    """Return the recipe as a tree of sections, each key with its value and that of the other recipe."""
    columns = (
        Column("key", KEY_WIDTH, True),
        Column("value", 34, True),
        Column("other", 26, True, 1, plain(detail.against, 26)),
    )
    rows: dict[str, tuple[Cell, ...]] = {}
    section = ""
    for setting in detail.settings:
        if only_other and not setting.is_other:
            continue
        head, _, name = setting.key.partition(".")
        if head != section:
            section = head
            rows[head] = (Cell(plain(head, 40), "bold"), Cell(""), Cell(""))
        style = WARNING if setting.is_other else ""
        mark = "≠ " if setting.is_other else "  "
        cells = (f"{mark}{plain(name, 60)}", plain(setting.value, 200), plain(setting.other, 200))
        rows[setting.key] = tuple(Cell(text, style) for text in cells)
    sheet = Sheet("recipe", columns, rows)
    return sheet if width is None else sheet.fit(width)[0]


def sections(detail: RunDetail, now: float) -> list[tuple[str, Text]]:
    """Return what is known of a run beside its recipe, in parts with titles."""
    if detail.run is None:
        return [("No run", Text("go to a run on the screen of runs"))]
    parts: list[tuple[str, Sequence[Text | str]]] = [
        ("State", list(_state(detail, now))),
        ("Command that makes it again", detail.command or ["no command is known that makes this run"]),
        ("Loss and its parts: now, smoothed, lowest, highest", list(_loss_lines(detail))),
        ("Health", list(_health(detail))),
        ("Machine", list(_measured(SYSTEM, detail.measures))),
        ("Events, the last at the bottom", [_event_line(each) for each in detail.events[-NUM_EVENTS:]]),
        ("Checkpoints and disk", list(_disk(detail))),
        ("Evaluations", list(_evaluations(detail))),
        ("Leaks", detail.audit),
        ("Console", detail.console or ["no log of this run is in the workspace: it was started by hand"]),
    ]
    return [(title, _join(lines)) for title, lines in parts if lines]


def _join(lines: Sequence[Text | str]) -> Text:
    return Text("\n").join([line if isinstance(line, Text) else Text(plain(line, 600)) for line in lines])


def _state(detail: RunDetail, now: float) -> Iterator[Text | str]:
    run = detail.run
    assert run is not None, "a state is of a run"
    yield Text.assemble((plain(run.state, 20), STATE_STYLES.get(run.state, "")), f"  {steps_text(run)}")
    if math.isfinite(run.left_s):
        yield f"{short_seconds(run.left_s)} left"
    if run.logged_at is not None and run.state in {"running", "unseen"}:
        yield f"logged {short_seconds(now - run.logged_at)} ago"
    yield f"started {clock_text(run.started_at)} on {plain(run.device, 40) or 'an unknown device'}"
    where = f"cohort {plain(run.cohort, 60)}, split {plain(run.split, 40)}, {run.num_films:,} films"
    yield where + (f", {detail.num_steps_per_epoch:,} steps an epoch" if detail.num_steps_per_epoch else "")
    if run.tags or run.note:
        yield f"tags {plain(', '.join(run.tags), 100) or 'none'}; {plain(run.note, 300)}"
    if detail.versions:
        yield detail.versions
    if run.trouble:
        yield Text(plain(run.trouble, 300), TROUBLE)


def _loss_lines(detail: RunDetail) -> Iterator[str]:
    for name, measure in detail.measures.items():
        if name == "loss" or name.endswith(("_loss", "entropy", "error")) or name == "memax":
            trend = spark(detail.run.trend, 12) if name == "loss" and detail.run else ""
            yield f"{plain(name, 24):<24}{_four(measure)}  {trend}".rstrip()


def _four(measure: Measure) -> str:
    values = (measure.last, measure.smoothed, measure.lowest, measure.highest)
    return " ".join(f"{short_number(value) if math.isfinite(value) else NOTHING:>9}" for value in values)


def _health(detail: RunDetail) -> Iterator[Text | str]:
    if detail.run and detail.run.alarm:
        yield Text(plain(detail.run.alarm, 300), WARNING)
    else:
        yield "no alarm since it was last started"
    yield from _measured(HEALTH, detail.measures)
    for name, measure in detail.measures.items():
        if name.startswith("probe_auroc"):
            finding = plain(name.removeprefix("probe_auroc").strip(), 40) or "macro"
            yield f"val probe, {finding:<28} {measure.last:.3f} at step {measure.step:,}, best {measure.highest:.3f}"


def _measured(names: Sequence[str], measures: Mapping[str, Measure]) -> Iterator[str]:
    for name in names:
        if name in measures:
            meaning = f"  {MEANINGS[name]}" if name in MEANINGS else ""
            last = measures[name].last
            value = f"{last:.1%}" if name.endswith("_frac") and math.isfinite(last) else short_number(last)
            yield f"{name:<18} {value:>9}{meaning}"


def _event_line(event: Mapping[str, Any]) -> str:
    return f"{clock_text(event.get('ts'))}  {describe_event(dict(event))}"


def _disk(detail: RunDetail) -> Iterator[str]:
    for name, num_bytes in detail.checkpoints:
        yield f"{plain(name, 40):<24} {format_bytes(num_bytes):>12}"
    total = sum(num for _, num in detail.disk)
    parts = ", ".join(f"{plain(name, 40)} {format_bytes(num)}" for name, num in detail.disk)
    yield f"{'in all':<24} {format_bytes(total):>12}  ({parts})"
    if detail.disk_bytes:
        free, whole = map(format_bytes, detail.disk_bytes)
        yield f"{'free on this disk':<24} {free:>12}  of {whole}"


def _evaluations(detail: RunDetail) -> Iterator[str]:
    for probe in detail.probes:
        where = f"{plain(probe.cohort, 40)}, split {plain(probe.split, 30)}"
        yield f"{where:<36} AUROC {probe.auroc.to_text()}  AUPRC {probe.auprc.to_text()}  {probe.num_films:,} films"
    yield f"made of it: {plain(detail.needs, 300) or 'nothing yet'}"
