"""A map to start from: what the names of files and columns show, as a commented TOML for the user to correct.

In: a folder. Out: the text of a map. Never: a cell of a patient, a file that is written over, or a subject that is
guessed where no column is called so: without one, ingest refuses.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import iter_folders, list_films
from cxrssl.cohort.maps.parse_labels import TAKEN
from cxrssl.cohort.maps.tables import file_name
from cxrssl.cohort.sources.folder import SUFFIXES
from cxrssl.cohort.split_file import FILE_SPLITS
from cxrssl.cohort.tables.parquet import is_parquet
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, plain

TABLES = (".csv", ".csv.gz", ".parquet")
MAX_ROWS = 200_000
LIKELY_FRAC = 0.5
CALLED = {
    "subject": r"(patient|subject|person|pat|pt|case|mrn|pid)([ _-]?(id|no|nr|num|number|key))?",
    "study": r"(study|exam|accession)([ _-]?(id|no|nr|num|number|uid))?",
    "split": r"(.*[ _-])?(split|fold|partition|subset)",
    "sex": r"(.*[ _-])?(sex|gender)",
    "age_y": r"(.*[ _-])?age([ _-]?(y|years))?",
    "view": r"view([ _-]?position)?|projection|proj",
    "list": r"(.*[ _-])?(findings?|labels?|diagnos[ei]s)([ _-]?labels?)?",
}
"""What a column may be -> how it is called, in lower case."""
WORDS = {
    "sex": {"male": ("M", "m", "Male", "male", "MALE"), "female": ("F", "f", "W", "w", "Female", "female", "FEMALE")},
    "view": {
        "PA": ("PA", "pa", "Pa"), "AP": ("AP", "ap", "Ap"), "LL": ("LL",),
        "LATERAL": ("LATERAL", "Lateral", "lateral", "L", "LAT", "lat"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """A map, and what it is about."""

    text: str
    films: int
    table: str
    """Of the films; empty where none names them."""


def write_guess(root: Path, path: Path) -> Guess:
    """Write a map for a folder to `path`, which must not exist, and return it.

    Raises: UsageError when the file exists, DataError when the folder holds no film.
    """
    if path.exists() or path.is_symlink():
        raise UsageError("the map is there already and is never written over", path, "name another with --map")
    if path.parent.resolve().is_relative_to(root.resolve()):
        raise UsageError("the folder of the films is never written to", path, "name a map elsewhere with --map")
    guess = guess_map(root)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(guess.text)
    except OSError as error:
        raise UsageError(f"the map cannot be written: {error.strerror or error}", path) from None
    return guess


def guess_map(root: Path) -> Guess:
    """Return a map for the films of a folder and the table that names most of them."""
    films = list_films(root, ("",), SUFFIXES)
    if not films:
        raise DataError("the folder holds no films", root, f"looked for {', '.join(SUFFIXES)}")
    best: tuple[tuple[int, int], str, str, pl.DataFrame] = ((0, 0), "", "", pl.DataFrame())
    others = []
    for table in _find_tables(root):
        shown = os.path.relpath(table, root)
        frame = _read(table)
        column, num = _find_image(frame, films)
        others.append(shown)
        rank = (num, sum(bool(_called(frame, kind)) for kind in CALLED))
        if num and rank > best[0]:
            best = (rank, shown, column, frame)
    (num, _), shown, column, frame = best
    others = [each for each in others if each != shown]
    lines = [f"# A map of {count_noun(len(films), 'film')}: cxrssl help folder. Correct what is guessed wrong."]
    lines += _films(shown, column, frame, num, sorted(films))
    if shown:
        lines += [*_record(frame), *_labels(frame, column), *_measures(frame)]
    if others:
        lines += ["", f"# Other tables in the folder: {', '.join(plain(each, 80) for each in others[:10])}"]
    return Guess("\n".join(lines) + "\n", len(films), shown)


def _find_tables(root: Path) -> Iterable[Path]:
    for folder in iter_folders(root, depth=2):
        for name in sorted(folder.files):
            if name.lower().endswith(TABLES) and not name.startswith("."):
                yield folder.path / name


def _read(path: Path) -> pl.DataFrame:
    """Return the first rows of a table as text; an empty frame where it cannot be read: ingest says why."""
    try:
        if is_parquet(path):
            return pl.read_parquet(path, n_rows=MAX_ROWS).select(pl.all().exclude(pl.List, pl.Struct).cast(pl.String))
        return pl.read_csv(path, n_rows=MAX_ROWS, infer_schema=False, ignore_errors=True, truncate_ragged_lines=True)
    except (OSError, pl.exceptions.PolarsError):
        return pl.DataFrame()


def _find_image(frame: pl.DataFrame, films: dict[str, int]) -> tuple[str, int]:
    """Return the column that names most files, and how many."""
    paths = pl.Series("path", list(films))
    bare = paths.to_frame().select(file_name(pl.col("path")))["path"]
    names = pl.concat([bare, bare.str.split("/").list.last()]).unique()
    best = ("", 0)
    for column in frame.columns:
        cell = pl.col(column).str.replace_all("\\", "/", literal=True)
        num = frame.select(file_name(cell).alias("cell"))["cell"].unique().is_in(names.implode()).sum()
        if num > best[1]:
            best = (column, int(num))
    return best


def _called(frame: pl.DataFrame, kind: str) -> str:
    """Return the first column that is called as a kind is, and that has cells."""
    for column in frame.columns:
        if re.fullmatch(CALLED[kind], column.strip().lower()) and frame[column].drop_nulls().len():
            return column
    return ""


def _films(table: str, image: str, frame: pl.DataFrame, num: int, films: list[str]) -> list[str]:
    if not table:
        example = re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "a", films[0].rpartition("/")[2].rpartition(".")[0]))
        return [
            "", "[films]", f"# No table names the films. Their names are such as {plain(example, 80)}:",
            '# name = "{subject}_{number}"  # what is in braces is a column too',
        ]  # fmt: skip
    lines = ["", "[films]", f"file = {_text(table)}", f"image = {_text(image)}  # names {count_noun(num, 'film')}"]
    subject, study, split = (_called(frame, kind) for kind in ("subject", "study", "split"))
    if subject:
        lines.append(f"subject = {_text(subject)}  # the person: check it")
    else:
        lines.append('# subject = "COLUMN"  # the person: needed, no column is called so')
    lines += [f"# study = {_text(study)}  # left out, each film is a study"] if study else []
    if split and set(frame[split].drop_nulls().unique()) <= {*FILE_SPLITS, "train_val"}:
        lines.append(f"split = {_text(split)}")
    times = [name for name in frame.columns if _is_time(frame[name])]
    lines += [f"# taken = {_text(name)}  # if it is the time of the film" for name in times]
    return lines


def _record(frame: pl.DataFrame) -> list[str]:
    lines = []
    age = _called(frame, "age_y")
    if age and _is_number(frame[age]):
        lines.append(f"age_y = {_text(age)}  # in years; else {{ column = {_text(age)}, factor = ... }}")
    for name, words in WORDS.items():
        column = _called(frame, name)
        cells = set(frame[column].drop_nulls().str.strip_chars().unique()) if column else set()
        known = {word: [cell for cell in spelt if cell in cells] for word, spelt in words.items()}
        said = ", ".join(f"{word} = {json.dumps(spelt)}" for word, spelt in known.items() if spelt)
        if said:
            num = len(cells - {cell for spelt in known.values() for cell in spelt})
            note = f"  # {count_noun(num, 'other word')} unknown" if num else ""
            lines.append(f"{name} = {{ column = {_text(column)}, words = {{ {said} }} }}{note}")
    return ["", "[ehr]", *lines] if lines else []


def _labels(frame: pl.DataFrame, image: str) -> list[str]:
    named = _called(frame, "list")
    taken = {image, *(_called(frame, kind) for kind in CALLED if kind != "list")}
    columns = [name for name in frame.columns if name not in taken and _is_label(frame[name], name)]
    lines = []
    if columns:
        lines += ["", "[labels.findings]  # finding = column; cells 1, 0 and -1"]
        lines += [f"{_text(name.strip())} = {_text(name)}" for name in columns]
    elif named:
        lines += [
            "", "# [labels]", f"# list = {_text(named)}", '# separators = ["|"]', '# normal = "No Finding"',
            "# findings = []  # the names in that column",
        ]  # fmt: skip
    return lines


def _measures(frame: pl.DataFrame) -> list[str]:
    """Return comments on columns that come in pairs, as crp_offset and crp_val."""
    pairs = []
    for name in frame.columns:
        for end in ("_val", "_value", "_result"):
            stem = name.removesuffix(end)
            time = next(
                (f"{stem}{each}" for each in ("_offset", "_time", "_date") if f"{stem}{each}" in frame.columns), ""
            )
            if name.endswith(end) and time:
                pairs.append((stem, name, time))
    if not pairs:
        return []
    is_offset = any(time.endswith("_offset") for _, _, time in pairs)
    lines = ["", *(["# [time]", '# unit = "d"  # of the offsets', '# zero = "film"'] if is_offset else [])]
    lines += ["# [[measures]]", "# [measures.features]  # a name of cxrssl help features, or of a [[feature]] of yours"]
    for stem, value, time in pairs:
        word = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
        lines.append(f'# {word} = {{ value = {_text(value)}, time = {_text(time)}, unit = "?" }}')
    return lines


def _is_label(cells: pl.Series, name: str) -> bool:
    said = set(cells.drop_nulls().str.strip_chars().unique())
    is_free = name.strip().lower() not in TAKEN and not name.startswith("split_")
    return is_free and {"0", "1"} <= {cell.removesuffix(".0") for cell in said} <= {"0", "1", "-1", ""}


def _is_number(cells: pl.Series) -> bool:
    said = cells.drop_nulls()
    return len(said) > 0 and said.cast(pl.Float64, strict=False).drop_nulls().len() > LIKELY_FRAC * len(said)


def _is_time(cells: pl.Series) -> bool:
    said = cells.drop_nulls().str.strip_chars()
    is_time = said.str.contains(r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}")
    return len(said) > 0 and int(is_time.sum()) > LIKELY_FRAC * len(said)


def _text(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)
