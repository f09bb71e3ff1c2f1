"""README.md of an export: what the encoder is, how films enter it, what it was trained on, what it may be used for.

In: a bundle, its lineage, its proof. Out: Markdown. Never: an id, a path of the machine, or a score without its
interval and the films that it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cxrssl.core.text import plain
from cxrssl.core.version import __version__
from cxrssl.export.bundle import PIXELS, Bundle
from cxrssl.export.cut import cut_origin
from cxrssl.export.lineage import Lineage
from cxrssl.export.preprocess import STEPS
from cxrssl.export.proof import MAX_DIFFERENCE, Proof
from cxrssl.records.eval_settings import label_run
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.members import Member
from cxrssl.stats.resample import explain_marks

SMALL = 10
LIMITS = (
    "It was trained on films of few hospitals. Films of other devices, countries or ages may look different to it.",
    "It finds no disease without a probe: fit one, and test it, on your own films.",
    "It is a means of research, no medical device, and nothing for the care of patients.",
    "Features may tell sex, age or view, and a probe may use them in place of disease: look at subgroups.",
)


def write_card(bundle: Bundle, lineage: Lineage, to: str, usage: str, proof: Proof) -> str:
    """Return the model card."""
    parts = [
        _head(bundle, lineage, to),
        _terms(lineage),
        _use(bundle, usage),
        _training(lineage),
        _scores(lineage.evaluations),
        "## Limits\n\n" + _bullets([*_warnings(lineage), *LIMITS]),
        _proof(proof, bundle, to),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


def _head(bundle: Bundle, lineage: Lineage, to: str) -> str:
    origin, objective = lineage.record.origin, bundle.encoder.recipe.objective.label
    what = label_run(objective, ", ".join(lineage.record.ehr.taught), lineage.which)
    channels = "one grey channel" if bundle.shape.channels == 1 else f"{bundle.shape.channels} equal grey channels"
    return f"""\
# {plain(origin.run_id, 120)}, {lineage.which} encoder, for {to}

A vision transformer for chest X-rays, pretrained by cxrssl {__version__}: {plain(what, 200)}.
{bundle.shape.in_words}, {channels}.
**It has {bundle.shape.heads} heads.** The weights do not say so: with another number they load too, and give other
features.
"""


def _terms(lineage: Lineage) -> str:
    lines = [f"## Licence verdict: {lineage.terms[0].verdict}\n"]
    lines += [f"- {terms.dataset}: {terms.sentence} Source: {terms.source}." for terms in lineage.terms]
    lines.append("\nThis is a reminder and no legal advice: the agreement that you signed decides.")
    return "\n".join(lines)


def _use(bundle: Bundle, usage: str) -> str:
    pixels = bundle.pixels
    code = f"""\
import numpy as np
from PIL import Image
from preprocess import Preprocessing
film = np.asarray(Image.open("film.png").convert("L"))
views = Preprocessing.read("{PIXELS}").prepare(film)
{usage}"""
    numbers = f"pack_px {pixels.pack_px}, view_px {pixels.view_px}, mean {pixels.mean:g}, std {pixels.std:g}"
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(STEPS, 1))
    return f"""\
## Use

In this folder; `features` are the class token after the final norm, [films, {bundle.shape.width}]:

```python
{code}
```

A film becomes pixels in these steps, with {numbers}; `preprocess.py` does them, with NumPy alone:

{steps}

A transform of another library that crops, stretches or pads with grey gives other features. For DICOM take the greys
that `cxrssl.load_encoder` makes, or apply the film's own look-up tables first. Very large JPEGs are packed from a lower
resolution, which changes greys by 0.2 of 255 on average.
"""


def _describe_cohort(member: Member) -> str:
    return ", ".join(filter(None, (member.cohort, f"split {member.split}", member.link)))


def _training(lineage: Lineage) -> str:
    record, origin = lineage.record, cut_origin(lineage.record.origin, lineage.record.recipe)
    facts = {
        "objective": _of_recipe(lineage, "objective", "name"),
        "health record": ", ".join(record.ehr.taught) or "none",
        "epochs": _of_recipe(lineage, "train", "num_epochs"),
        "batch size": _of_recipe(lineage, "train", "batch_size"),
        "seed": _of_recipe(lineage, "train", "seed"),
        "steps": f"{origin.step:,}",
        **({"started from": ", before it ".join(each.name for each in record.ancestors)} if record.ancestors else {}),
        "dataset": ", ".join(dict.fromkeys(each.dataset for each in origin.cohorts)),
        "cohort": "; ".join(_describe_cohort(each) for each in origin.cohorts),
        "films": f"{_count(lineage.num_films, lineage.num_subjects)} of {_count(lineage.num_subjects)} subjects",
        "SHA-256 of the recipe": origin.recipe_sha256,
        "SHA-256 of the cohort": origin.cohort_sha256,
        "SHA-256 of the packed films": origin.images_sha256,
    }
    rows = "\n".join(f"| {name} | {plain(value, 200)} |" for name, value in facts.items())
    return f"""\
## Training

| What | Value |
|------|-------|
{rows}

`recipe.json` is the whole recipe. `training_films.csv` lists the training films by the hash of their packed pixels,
which says nothing to those who do not have the films. Test on none of them, nor on other films of these people.
"""


def _scores(evaluations: Sequence[Evaluation]) -> str:
    if not evaluations:
        return "## Scores\n\nThis encoder was not evaluated.\n"
    lines = ["## Scores\n", "Linear probes on the frozen features, macro means over findings, with intervals:\n"]
    lines += ["| Cohort, split | Findings | Films | Subjects | AUROC | AUPRC |", "|---|---|---|---|---|---|"]
    for each in evaluations:
        scores, about = each.scores, each.settings
        defined = sum(score.is_defined for score in scores.findings.values())
        films, subjects = _count(scores.num_films, scores.num_subjects), _count(scores.num_subjects)
        cells = [f"{about.cohort}, {about.split}", str(defined), films, subjects]
        cells += [scores.macro_auroc.to_text(), scores.macro_auprc.to_text()]
        lines.append("| " + " | ".join(plain(cell, 80) for cell in cells) + " |")
    lines.append("")
    lines += _bullets(_notes(evaluations)).splitlines()
    return "\n".join(lines)


def _notes(evaluations: Sequence[Evaluation]) -> list[str]:
    notes = list(dict.fromkeys(f"Intervals: {each.scores.method}." for each in evaluations))
    numbers = [each for one in evaluations for each in (one.scores.macro_auroc, one.scores.macro_auprc)]
    notes += [line.replace("*", "\\*", 1) for line in explain_marks(numbers)]
    for each in evaluations:
        where = f"{each.settings.cohort}, {each.settings.split}"
        notes += [f"{where}: the run has seen films or people that it is tested on."] if each.settings.leak else []
        seen = "transductive: the run has seen films that are scored, without their labels"
        notes += [f"{where}: {seen}."] if each.settings.transductive else []
        probe = each.settings.probe
        notes += (
            [f"{where}: protocol {plain(probe.protocol, 60)}, selected on: {probe.selected_on}."]
            if probe.protocol
            else []
        )
    return notes


def _warnings(lineage: Lineage) -> list[str]:
    found = []
    if lineage.taught_outcome:
        found.append("An outcome of the stay took part in pretraining: do not test on that outcome.")
    if lineage.learnt_labels:
        found.append("The labels of its training films shaped it: it is no self-supervised encoder.")
    found += [
        f"It started from {plain(name, 120)}, whose training films are unknown: they may be those that you test on."
        for name in lineage.record.unlisted
    ]
    if lineage.which == "anchor":
        found.append("This is the anchor, the encoder that was trained; the target is its moving average.")
    return found


def _proof(proof: Proof, bundle: Bundle, to: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in proof.libraries.items())
    return f"""\
## Proof

{proof.num_films} drawn films went through cxrssl's own evaluation, and through `preprocess.py` and this folder as {to}
loads it ({versions}). Features differ by at most {proof.difference:.1e}; allowed are {MAX_DIFFERENCE:g}.
"""


def _of_recipe(lineage: Lineage, section: str, key: str) -> object:
    values = lineage.record.recipe.get(section)
    return values.get(key, "") if isinstance(values, dict) else ""


def _count(num: int, num_subjects: int = SMALL) -> str:
    """Return a count of films or subjects; a card may leave the hospital, so that those of few people are not shown."""
    return f"under {SMALL}" if 0 < num < SMALL else "not shown" if num_subjects < SMALL else f"{num:,}"


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
