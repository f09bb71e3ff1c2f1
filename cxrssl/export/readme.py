"""README.txt of an archive: what is in it, and what was left out, for those who decide whether it may leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrssl.core.text import count_noun
from cxrssl.core.version import __version__

TEXT = """\
Results of pretraining runs, without rows of patients. Written by cxrssl {version}.

In it:
  runs/         {runs}: settings (run.json), training curves (metrics-0001.jsonl), when each run began and ended
  evals/        {evals}: scores with intervals, by finding, and how they were made
  comparisons/  {comparisons}: paired differences of two evaluations
  groups/       {groups}: means over seeds
  manifest.json the hash of every file

Left out of it:
  weights, films, features, and what was predicted of each film
  ids of subjects, studies and films; lists of training films
  paths, hosts, users, processes, and the words of events
  training curves by finding; the columns of the record
  counts of 1 to 9 films or subjects, and the scores of findings that rest on so few subjects

Where a small count was left out, all counts of that evaluation are rounded down to tens, and its scores and their means
to three digits. No small count can then be computed from the others; a score that was left out can, to about 0.01, from
the mean over findings and the other scores.
{cuts}
It holds SHA-256 hashes of the cohort, the packed films, the recipe and the weights. They name nobody; whoever has the
same data can tell by them that it is the same.

Texts in it come from the program, but for the names of runs and cohorts and the recipe, which the user chose: read
them. Bring it into another workspace with: cxrssl runs import FILE.zip
"""


def write_readme(names: Sequence[str], cuts: Mapping[str, Any]) -> str:
    """Return the text for an archive of files of these names."""
    counts = {
        kind: count_noun(len({name.split("/")[1] for name in names if name.startswith(f"{kind}/")}), noun)
        for kind, noun in (("runs", "run"), ("evals", "evaluation"), ("comparisons", "comparison"), ("groups", "group"))
    }
    lines = [
        f"  {eval_id}: {', '.join([*cut['hidden'], *cut['features']]) or 'counts alone'}"
        for eval_id, cut in sorted(cuts.items())
    ]
    shown = "\n".join(["", "Left out by evaluation:", *lines, ""]) if lines else ""
    return TEXT.format(version=__version__, cuts=shown, **counts)
