"""`cxrssl ingest`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    align,
    make_workspace,
    next_line,
    print_summary,
)
from cxrssl.core.columns import align_rows
from cxrssl.core.errors import UsageError
from cxrssl.core.filmnote import WORDS, Note
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.images.pack import PackSummary

NOTE_HINTS = {
    Note.POLARITY: "look at such a film; if it is a negative, --polarity shape follows PresentationLUTShape",
    Note.DEPTH: "if all films have one depth, say it, such as --png-bits 12",
}
"""Note -> what may be typed to decide otherwise."""
NOUNS = ("film", "subject")
VALUES = ("present", "absent", "uncertain", "blank")
"""Of a finding, as `summary.json` counts them."""


def ingest(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="mimic, chexpert, nih, covid, dicom or folder.")],
    path: Annotated[Path, typer.Argument(help="Folder of the dataset; it is only read.")],
    ehr: Annotated[Path | None, typer.Option(help="Folder of MIMIC-IV, if it is not under PATH.")] = None,
    films: Annotated[Path | None, typer.Option(help="Folder of the films, when not beside the tables.")] = None,
    map_path: Annotated[
        Path | None, typer.Option("--map", help="TOML that explains your own tables: help folder.")
    ] = None,
    guess: Annotated[
        bool, typer.Option("--guess", help="For folder: write a map to start from to --map [map.toml], and stop.")
    ] = False,
    labels: Annotated[str, typer.Option(help="For mimic: chexpert, negbio or radiologist.")] = "",
    features: Annotated[
        str, typer.Option(help="For mimic: labs, vitals, oxygen, history, or a TOML of your own: help features.")
    ] = "",
    link: Annotated[str, typer.Option(help="For mimic: link films to stays by time, or by day as published.")] = "",
    tolerance: Annotated[
        float | None,
        typer.Option(help="For mimic: a film taken at most this many hours before an admission belongs to it [6]."),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Percentages of subjects in train, val and test of the hash split.")
    ] = "70,10,20",
    split_file: Annotated[
        Path | None,
        typer.Option(help="Own split: CSV of split (train, val, test) and subject_id, study_id or image_id."),
    ] = None,
    cohort: Annotated[
        str, typer.Option(help="Name of the cohort to make; the dataset's own when left out.", metavar="NAME")
    ] = "",
    size: Annotated[int, typer.Option(help="Side of the packed films in pixels.", min=32, max=2048)] = 320,
    follow_links: Annotated[
        Path | None, typer.Option(help="Folder elsewhere that films may be links into.", metavar="DIR")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Read every film again, changed or not.")] = False,
    workers: Annotated[int, typer.Option(help="Decoding processes; 0 means one per core.", min=0)] = 0,
    allow_losses: Annotated[
        bool, typer.Option("--allow-losses", help="Go on though a table loses many of its rows, or all.")
    ] = False,
    pack: Annotated[bool, typer.Option(help="Pack the films; --no-pack stops after the cohort.")] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a cohort of this name that is of another dataset or folder.")
    ] = False,
    polarity: Annotated[
        str,
        typer.Option(help="DICOM headers that contradict themselves: follow photometric or shape."),
    ] = "photometric",
    png_bits: Annotated[
        int, typer.Option(help="True depth of 16-bit PNGs; 0 takes what each film uses.", min=0, max=16)
    ] = 0,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Read a dataset, link its films to hospital stays, split by patient, and pack the films. Resumable.

    A map for your own DICOM folder (finding = column of labels.csv, feature = column of records.csv):

    \b
      body_part = ["CHEST"]
      [labels]
      file = "labels.csv"
      column = "study_uid"
      key = "study"                  # or image, patient, file
      present = ["1"]
      absent = ["0"]
      uncertain = ["-1"]
      [labels.findings]
      Edema = "edema"
      [ehr]
      file = "records.csv"
      column = "mrn"
      key = "patient"
      [ehr.sex]
      column = "gender"
      words = { male = ["M"], female = ["F"] }
      [ehr.age_y]
      column = "age"

    Example: cxrssl ingest mimic /path/to/physionet.org
    """
    from cxrssl.cohort.ingest import IngestOptions
    from cxrssl.cohort.link import make_link_rule
    from cxrssl.cohort.split import parse_shares
    from cxrssl.ingest import ingest_dataset

    if guess:
        _write_guess(dataset, path, map_path or Path("map.toml"), as_json)
        return
    opened = make_workspace(workspace)
    options = IngestOptions(
        dataset,
        path,
        ehr,
        films,
        map_path,
        labels,
        follow_links,
        features,
        name=cohort,
        rule=make_link_rule(link, tolerance) if link or tolerance is not None else None,
        shares=parse_shares(shares),
        split_path=split_file,
        size_px=size,
        num_workers=workers,
        may_pack=pack,
        may_replace=replace,
        polarity=polarity,
        png_bits=png_bits,
        allow_losses=allow_losses,
        is_anew=anew,
    )
    made, packed = ingest_dataset(opened, options)
    counts = packed and vars(packed) | {"rejects": count_rules(packed)}
    summary = {"cohort": made.values, "was_current": made.was_current, "packed": counts}
    if packed:
        then = next_line("pretrain", "--cohort", made.name, workspace=workspace)
    else:
        then = f"next, pack the films: {shlex.join(['cxrssl', *(w for w in context.obj or () if w != '--no-pack')])}"
    rejects = opened.images / made.name / "rejects.csv"
    print_summary(summary, as_json, [*describe_cohort(made.values), *describe_packed(packed, rejects), then])


def _write_guess(dataset: str, path: Path, map_path: Path, as_json: bool) -> None:
    from cxrssl.cohort.files import check_folder
    from cxrssl.cohort.maps.guess import write_guess

    if dataset != "folder":
        raise UsageError(f"--guess does not apply to {plain(dataset, 60)}", hint="cxrssl ingest folder PATH --guess")
    made = write_guess(check_folder(path, dataset), map_path)
    named = f"named by {made.table}" if made.table else "which no table names"
    then = f"next, correct it: then {shlex.join(['cxrssl', 'ingest', 'folder', str(path), '--map', str(map_path)])}"
    summary = {"map": str(map_path), "films": made.films, "table": made.table}
    print_summary(summary, as_json, [f"{map_path}: a map of {count_noun(made.films, 'film')}, {named}", then])


def describe_cohort(values: dict[str, Any]) -> list[str]:
    """Return the lines that account for every film of a cohort."""
    from cxrssl.cohort.release.verified import describe_release

    films = values["films"]
    lines = [
        f"cohort {values['name']} of {values['dataset']}: {count_noun(films['accepted'], 'film')}, "
        f"{count_noun(films['studies'], 'study')}, {count_noun(films['subjects'], 'subject')}; "
        + (f"{values['link_rule']}; " if values["link_rule"] else "")
        + f"default split {values['default_split']}"
    ]
    lines.append(describe_release(values["name"], values.get("release")))
    lines += [f"{part}: {version}" for part, version in values.get("versions", {}).items()]
    flow = [("seen", films["seen"]), *((f"rejected: {k}", v) for k, v in films["rejected"].items())]
    lines += ["films"] + _counts([*flow, ("accepted", films["accepted"])])
    if values["link"]:
        lines += ["linked by status"] + _counts(list(values["link"].items()))
    for kind, positions in values.get("positions", {}).items():
        lines += [f"films by the intervals of {kind}"] + _counts(list(positions.items()))
    lines += ["films where unknown"] + _counts(list(values["unknown"].items()))
    lines += _describe_measured(values.get("measured", {}))
    for feature, words in values["strange_words"].items():
        lines += [f"words of {feature} that no category is declared for, in rows"] + _counts(list(words.items()))
    lines += _describe_findings(values["findings"])
    for scheme, parts in values["splits"].items():
        lines += [f"split {scheme}" + (" " + "/".join(map(str, values["shares"])) if scheme == "hash" else "")]
        counts = [(part, parts[part]) for part in ("train", "val", "test") if part in parts]
        lines += align([(part, " of ".join(count_noun(n[f"{noun}s"], noun) for noun in NOUNS)) for part, n in counts])
    rejected_rows = {file: sum(table["rejected"].values()) for file, table in values["tables"].items()}
    others = [(file, count) for file, count in list(rejected_rows.items())[1:] if count]
    if others:
        lines += ["rejected rows of other tables"] + _counts(others)
    return lines + [f"note: {remark}" for remark in values["remarks"]]


def _describe_measured(measured: dict[str, dict[str, Any]]) -> list[str]:
    """Return a row for each measured feature that is known of a film: films, rows used, and rows rejected by rule."""
    if not measured:
        return []
    rows: list[tuple[str, ...]] = [("measured", "films", "stale", "stored later", "rows", "rejected")]
    known = {name: each for name, each in measured.items() if each["films"]}
    for name, each in known.items():
        rejected = ", ".join(f"{rule} {num:,}" for rule, num in each["rejected"].items()) or "0"
        rows.append((name, *(f"{each[key]:,}" for key in ("films", "stale", "stored_later", "rows")), rejected))
    title = "measured features; stored later: films with a nearer value that was drawn before and stored after them"
    table = [title, *align_rows(rows, range(1, 5), "  ")] if known else []
    return [*table, *_count_unknown([each for name, each in measured.items() if name not in known])]


def _count_unknown(unknown: list[dict[str, Any]]) -> list[str]:
    """Return a line on the measured features that are known of no film, and what became of the rows of theirs."""
    if not unknown:
        return []
    num_rejected = sum(sum(each["rejected"].values()) for each in unknown)
    rows = f"{count_noun(sum(each['rows'] for each in unknown), 'row')} used, {num_rejected:,} rejected"
    return [f"{count_noun(len(unknown), 'measured feature')} known of no film: {rows}"]


def _describe_findings(findings: dict[str, dict[str, int]]) -> list[str]:
    """Return a row for each finding: its prevalence among all studies, and the studies with each value."""
    if not findings:
        return []
    rows: list[tuple[str, ...]] = [("finding", "prevalence", "present", "absent", "uncertain", "not mentioned")]
    for name, counts in findings.items():
        share = f"{100 * counts['present'] / max(sum(counts.values()), 1):.1f} %"
        rows.append((plain(name, 60), share, *(f"{counts[key]:,}" for key in VALUES)))
    return ["findings of studies; prevalence: present, of all studies", *align_rows(rows, range(1, 6), "  ")]


def describe_packed(packed: PackSummary | None, rejects: Path) -> list[str]:
    """Return the lines about packed films. Names of films may hold a subject's id: they stay in the file `rejects`."""
    if packed is None:
        return []
    state = "were packed already" if packed.was_current else f"packed at {packed.images_per_s:,.0f} films/s"
    kept = f", {packed.num_kept:,} of them as before" if packed.num_kept else ""
    lines = [f"{packed.num_packed:,} of {packed.num_films:,} films {state}{kept}"]
    rules = count_rules(packed)
    lines += _counts([(f"rejected: {rule}", count) for rule, count in rules.items()])
    lines += [f"  each is named in {rejects}"] if rules else []
    lines += [f"note: {packed.note}"] if packed.note else []
    return [*lines, *describe_notes(packed.notes)]


def count_rules(packed: PackSummary) -> dict[str, int]:
    """Return how many films each rule rejects."""
    return dict(sorted(Counter(reject.rule for reject in packed.rejects).items()))


def describe_notes(notes: Mapping[str, int]) -> list[str]:
    """Return the lines about packed films whose greys look odd, or whose headers a rule decided."""
    lines = ["packed films with a note, named in noted.csv"] + _counts(list(notes.items())) if notes else []
    return lines + [f"hint: {hint}" for note, hint in NOTE_HINTS.items() if WORDS[note] in notes]


def _counts(rows: list[tuple[str, int]]) -> list[str]:
    return align([(name, f"{count:,}") for name, count in rows])
