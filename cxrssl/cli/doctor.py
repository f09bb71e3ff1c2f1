"""`cxrssl doctor`: what a folder and this machine have, and what is missing, before hours are spent."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, align, print_summary
from cxrssl.core.columns import align_rows

if TYPE_CHECKING:
    from cxrssl.cohort.doctor import DatasetReport

GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
GPU_TIMEOUT_S = 10
MISSING_EXIT = 3


def doctor(
    path: Annotated[Path | None, typer.Argument(help="Folder of a dataset; left out, only this machine.")] = None,
    dataset: Annotated[str, typer.Option(help="Look for this dataset only.")] = "",
    ehr: Annotated[Path | None, typer.Option(help="Folder of MIMIC-IV, if it is not under PATH.")] = None,
    films: Annotated[Path | None, typer.Option(help="Folder of the films, when not beside the tables.")] = None,
    map_path: Annotated[
        Path | None, typer.Option("--map", help="TOML that explains your own tables: help folder.")
    ] = None,
    labels: Annotated[str, typer.Option(help="For mimic: chexpert, negbio or radiologist.")] = "",
    size: Annotated[int, typer.Option(help="Side of the packed films in pixels.", min=32, max=2048)] = 320,
    gpu: Annotated[bool, typer.Option("--gpu", help="Check in a separate process whether torch sees a GPU.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say which dataset and version lie in PATH, what is missing, whether the disk suffices, and what to type next.

    Exits with 0 if ingest can run, with 3 if something needed is missing. Reads the tables, and a few of the films.

    Example: cxrssl doctor /path/to/physionet.org
    """
    from cxrssl.cohort.doctor import examine
    from cxrssl.cohort.sources import SourceOptions

    machine = _examine_machine(workspace, gpu)
    reports = examine(SourceOptions(dataset, path, ehr, films, map_path, labels)) if path else []
    datasets = [_summarise(report, machine, size) for report in reports]
    options = {
        "--ehr": ehr,
        "--films": films,
        "--map": map_path,
        "--labels": labels,
        "--size": size if size != 320 else "",
    }
    if workspace != DEFAULT_WORKSPACE:
        options["--workspace"] = workspace
    next_steps = [_next_command(report, path, options) for report in datasets if not report["missing"]]
    is_ready = bool(next_steps) and len(next_steps) == len(datasets)
    summary = {"machine": machine, "datasets": datasets, "is_ready": is_ready if path else None, "next": next_steps}
    lines = _describe_machine(machine)
    for report in datasets:
        lines += ["", *_describe_dataset(report)]
    steps = next_steps if path else ["cxrssl doctor PATH"]
    lines += ["", *(f"next: {step}" for step in steps)] if steps else []
    print_summary(summary, as_json, lines)
    if path and not is_ready:
        raise typer.Exit(MISSING_EXIT)


def _examine_machine(workspace: Path, ask_torch: bool) -> dict[str, Any]:
    import os
    import platform
    import shutil

    from cxrssl.core.version import __version__
    from cxrssl.dicom import find_codecs

    place = workspace.absolute()
    while not place.exists():
        place = place.parent
    return {
        "cxrssl": __version__,
        "python": platform.python_version(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "workspace": str(workspace.absolute()),
        "free_bytes": shutil.disk_usage(place).free,
        "torch": _version_of("torch"),
        "gpus": _list_gpus(),
        "torch_sees": _ask_torch() if ask_torch else None,
        "dicom": {name: missing or "yes" for name, missing in find_codecs().items()},
    }


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _list_gpus() -> list[str]:
    """Return the NVIDIA GPUs that the driver names."""
    import subprocess

    try:
        result = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]


def _ask_torch() -> str:
    """Return what torch itself sees; it takes seconds to start and holds memory, so in a process that ends."""
    import subprocess
    import sys

    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')"
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "torch does not start"
    return result.stdout.strip()


def _summarise(report: DatasetReport, machine: dict[str, Any], size_px: int) -> dict[str, Any]:
    """Return the report as plain values, with the disk that packing needs."""
    from dataclasses import asdict

    from cxrssl.core.text import format_bytes
    from cxrssl.images.shard import packed_bytes

    needed = packed_bytes(report.films.num_to_pack, size_px)
    values = asdict(report) | {"packed_bytes": needed, "size_px": size_px}
    values["films"]["found"] = report.films.found
    values["films"]["by_folder"] = _without_ids(report.dataset, report.films.by_folder)
    if needed > machine["free_bytes"]:
        shortage = f"{format_bytes(needed)} needed to pack at {size_px} px, {format_bytes(machine['free_bytes'])} free"
        values["missing"].append(f"disk: {shortage}; choose a smaller --size or another --workspace")
    values["disk"] = f"{format_bytes(needed)} needed at {size_px} px, {format_bytes(machine['free_bytes'])} free"
    return values


def _without_ids(dataset: str, by_folder: Mapping[str, int]) -> dict[str, int]:
    """Return the counts, with * for a folder whose name may be a subject's: one of five digits, any of one's own."""
    counts: Counter[str] = Counter()
    for folder, num in by_folder.items():
        place, slash, name = folder.rpartition("/")
        is_subject = re.search("[0-9]{5}", name) or (dataset in ("dicom", "folder") and folder != ".")
        counts[f"{place}{slash}*" if is_subject else folder] += num
    return dict(counts)


def _next_command(report: dict[str, Any], path: Path | None, options: dict[str, Any]) -> str:
    words = ["cxrssl", "ingest", report["dataset"], str(path)]
    for name, value in options.items():
        words += [name, str(value)] if value else []
    return shlex.join(words)


def _describe_machine(machine: dict[str, Any]) -> list[str]:
    from cxrssl.core.text import count_noun, format_bytes

    gpus = "; ".join(machine["gpus"]) or "no NVIDIA GPU seen"
    absent: dict[str, list[str]] = {}
    for name, state in machine["dicom"].items():
        absent.setdefault(state, []).append(name)
    rows = [
        ("cxrssl", f"{machine['cxrssl']} on Python {machine['python']}"),
        ("machine", f"{count_noun(machine['cpu_cores'], 'core')}, {format_bytes(machine['memory_bytes'])} of memory"),
        ("torch", (machine["torch"] or "missing: it is needed to train") + f"; {gpus}"),
        *([("torch sees", machine["torch_sees"])] if machine["torch_sees"] else []),
        ("workspace", f"{machine['workspace']}, {format_bytes(machine['free_bytes'])} free"),
        ("DICOM", ", ".join(absent.pop("yes", []))),
        *((f"  without {package}", f"no {', '.join(names)}") for package, names in absent.items()),
    ]
    return align_rows(rows)


def _describe_dataset(report: dict[str, Any]) -> list[str]:
    from cxrssl.core.text import format_bytes

    lines = [f"{report['dataset']} in {report['root']}"]
    lines += align_rows(list(report["versions"].items()), indent="  ")
    if report["tables"]:
        rows = [
            (table["file"], f"about {table['rows']:,} rows", format_bytes(table["num_bytes"]))
            for table in report["tables"]
        ]
        lines += ["tables", *align_rows(rows, {1, 2}, "  ")]
    films = report["films"]
    if films["found"]:
        about_word = "" if films["is_exact"] else "about "
        expected = f", about {films['expected']:,} in the tables" if films["expected"] is not None else ""
        noun = "files, each will be looked at" if report["dataset"] == "dicom" else "films on the disk"
        lines += [f"{about_word}{films['found']:,} {noun}{expected}"]
        lines += align([(f"{folder}/", f"{about_word}{num:,}") for folder, num in _shorten(films["by_folder"])])
        lines += [f"packing: {report['disk']}"]
    if report["syntaxes"]:
        seen = ", ".join(f"{name} {num}" for name, num in report["syntaxes"].items())
        lines += [f"DICOM, a few files looked at: {seen}"]
    lines += [f"note: {remark}" for remark in report["remarks"]]
    return lines + [f"MISSING: {what}" for what in report["missing"]]


def _shorten(by_folder: dict[str, int], most: int = 12) -> list[tuple[str, int]]:
    """Return the folders, those beyond `most` as one."""
    rows = list(by_folder.items())
    rest = sum(num for _, num in rows[most:])
    return rows[:most] + ([(f"{len(rows) - most:,} more", rest)] if rest else [])
