"""How often intervals hold the truth: R2, calibration, decisions, groups, matched pairs, macro means, differences.

`python -m tests.stats.coverage [WORLDS [METRIC ...]]` prints the shares that the manual (numbers) has. Written first:

Simulated: subjects of 1 to 4 films each, equally likely. A label is 1 where a normal latent, of whose variance half is
the subject's, lies above the quantile that the prevalence asks for; scores are normal, half the subject's too, with
means d apart. R2 is of a number that is the subject's (normal, or exponential) and predictions that explain none of it
and err (-.02), .3 or .7, or of 20 features of which a record of 5 explains .05 or .3. Sizes: SIZES subjects.
Truth: the metric in 60,000 subjects of the same world, and beside it the mean of the values over the worlds, as a
value of few films may be biased while its interval is right for other test sets of its size.
Measured: the share of the 95 % intervals that hold the truth, of (a) percentiles, (b) BCa, (c) centred percentiles, all
from the same resamples of whole subjects, by the subjects that a number rests on: those of its rarer class, or all.
Worlds in which the program gives no interval (under two such subjects, no width) do not count.
Decides, a metric at a time, over the bands of 10 subjects and more: percentiles stay unless another method's shortfall
from 95 %, averaged over the cells, is smaller by more than 1 point; of two such the smaller one. An interval that
leaves out its own value in more than 1 % of worlds is not chosen while another is as good within 1 point. Where the
chosen one holds in less than 88 % (the number at 10 subjects of AUROC), the number is marked as of few.
Added after the first run, which found BCa worse than percentiles for means and differences of few subjects, where the
program used it: a finding in 20 % alone, its paired differences, and more test sets of the means. There the bands below
15 decide. The same of models that lie far apart (d 1.5 and .2), before centred differences in AUPRC are judged.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cxrssl.stats import calibration, explained, thresholds
from cxrssl.stats.bca import bca_interval
from cxrssl.stats.matched import auroc_within
from cxrssl.stats.measure import _resample, mean_defined
from cxrssl.stats.resample import count_subjects, percentile_interval

SIZES = (15, 30, 60, 150, 400)
BANDS = (2, 5, 10, 15, 30, 60, 150, 1000)
METHODS = ("percentile", "BCa", "centred")
NUM_LARGE = 60_000
NORMAL = NormalDist()
Floats = np.ndarray
Made = tuple[np.ndarray, int, Callable[[np.ndarray], Floats]]
"""subject_ids of the films, the subjects that the number rests on, and the metric in resamples [R, N] -> [R]."""


@dataclass(frozen=True)
class World:
    """A metric, and how a test set of so many subjects is drawn."""

    metric: str
    name: str
    draw: Callable[[np.random.Generator, int], Made]
    least: float = -math.inf
    most: float = math.inf


def draw_ids(rng: np.random.Generator, num_subjects: int) -> np.ndarray:
    """Return subject_ids of the films of subjects with 1 to 4 each."""
    return np.repeat(np.arange(num_subjects), rng.integers(1, 5, num_subjects))


def draw_noise(rng: np.random.Generator, ids: np.ndarray, num: int = 1) -> Floats:
    """Return normal values [N, num] of variance 1, half of it the subject's."""
    noise: Floats = math.sqrt(0.5) * (rng.normal(size=(ids[-1] + 1, num))[ids] + rng.normal(size=(len(ids), num)))
    return noise


def draw_labels(rng: np.random.Generator, ids: np.ndarray, prevalence: float, num: int = 1) -> np.ndarray:
    labels: np.ndarray = (draw_noise(rng, ids, num) > NORMAL.inv_cdf(1 - prevalence)).astype(np.int8)
    return labels


def rarer_of(labels: np.ndarray, ids: np.ndarray) -> int:
    pos, neg = count_subjects(labels[:, None], ids)
    return int(min(pos[0], neg[0]))


def of_r2(kind: str, r2: float) -> Callable[[np.random.Generator, int], Made]:
    """A number of the subject, or 20 features of a record, and predictions that explain `r2` of it."""

    def draw(rng: np.random.Generator, num_subjects: int) -> Made:
        ids = draw_ids(rng, num_subjects)
        if kind == "features":
            record = rng.normal(size=(num_subjects, 5))[ids] @ np.random.default_rng(0).normal(size=(5, 20))
            predicted = record * math.sqrt(r2 / 5)
            values = predicted + math.sqrt(1 - r2) * draw_noise(rng, ids, 20)
        else:
            own = rng.normal(size=num_subjects) if kind == "normal" else rng.exponential(size=num_subjects) - 1
            values = own[ids][:, None]
            noise = draw_noise(rng, ids)
            predicted = r2 * values + math.sqrt(r2 * (1 - r2)) * noise if r2 > 0 else math.sqrt(-r2) * noise
        errors = np.square(values - predicted).sum(axis=1)
        return ids, num_subjects, lambda counts: explained._r2(errors, values, counts)

    return draw


def of_calibration(what: str, scale: float) -> Callable[[np.random.Generator, int], Made]:
    """Log odds that are `scale` times too extreme, of a finding in 30 %."""

    def draw(rng: np.random.Generator, num_subjects: int) -> Made:
        ids = draw_ids(rng, num_subjects)
        labels = draw_labels(rng, ids, 0.3)[:, 0]
        scores = draw_noise(rng, ids)[:, 0] + 1.0 * labels
        logits = scale * (scores - 0.5 + math.log(0.3 / 0.7))
        fits: dict[str, Callable[[np.ndarray], Floats]] = {
            "intercept": lambda counts: calibration._fit_offset(logits, labels, counts),
            "slope": lambda counts: calibration._fit_line(logits, labels, counts)[:, 1],
            "Brier": lambda counts: calibration._mean(counts, np.square(calibration.sigmoid(logits) - labels)),
        }
        return ids, rarer_of(labels, ids), fits[what]

    return draw


def of_share(what: str, share: float) -> Callable[[np.random.Generator, int], Made]:
    """Sensitivity of a threshold (of a finding in 30 %), or the mean of a value of films (share in a box)."""

    def draw(rng: np.random.Generator, num_subjects: int) -> Made:
        ids = draw_ids(rng, num_subjects)
        if what == "mean":
            values = 1 / (1 + np.exp(-draw_noise(rng, ids)[:, 0] - math.log(share / (1 - share))))
            return ids, num_subjects, lambda counts: calibration._mean(counts, values)
        is_pos = draw_labels(rng, ids, 0.3) == 1
        is_called = draw_labels(rng, ids, share) == 1
        num = len(np.unique(ids[is_pos[:, 0]]))
        return ids, num, lambda counts: thresholds._share(counts, is_pos & is_called, is_pos)[:, 0]

    return draw


def of_groups(what: str, distance: float) -> Callable[[np.random.Generator, int], Made]:
    """AUROC in a third of the subjects, its gap to the others, or of pairs within a stratum; a finding in 30 %."""

    def draw(rng: np.random.Generator, num_subjects: int) -> Made:
        ids = draw_ids(rng, num_subjects)
        labels = draw_labels(rng, ids, 0.3)[:, 0]
        scores = draw_noise(rng, ids)[:, 0] + distance * labels
        cell = (rng.random(num_subjects) < 1 / 3)[ids].astype(np.int64)
        if what == "matched":
            scores = scores + 0.5 * cell
            return ids, rarer_of(labels, ids), lambda counts: auroc_within(scores, labels, cell, counts)[0]
        parts = [np.flatnonzero(cell == each) for each in (1, 0)]

        def measure(rows: np.ndarray, counts: np.ndarray) -> Floats:
            return auroc_within(scores[rows], labels[rows], np.zeros(len(rows), np.int64), counts[:, rows])[0]

        rarer = [rarer_of(labels[rows], ids[rows]) for rows in parts]
        if what == "group":
            return ids, rarer[0], lambda counts: measure(parts[0], counts)
        return ids, min(rarer), lambda counts: measure(parts[0], counts) - measure(parts[1], counts)

    return draw


def of_macro(
    what: str, num_findings: int, distances: tuple[float, float] = (0.8, 0.7)
) -> Callable[[np.random.Generator, int], Made]:
    """A mean over findings of 5 to 40 %, of AUROC or average precision, of one model or the difference of two; or the
    words of a record, of which each film has one."""

    def draw(rng: np.random.Generator, num_subjects: int) -> Made:
        ids = draw_ids(rng, num_subjects)
        if what == "words":
            share = np.geomspace(16, 1, num_findings)
            of_subject = rng.choice(num_findings, num_subjects, p=share / share.sum())
            labels = (of_subject[ids][:, None] == np.arange(num_findings)).astype(np.int8)
        else:
            prevalences = np.geomspace(0.05, 0.4, num_findings) if num_findings > 1 else np.array([0.2])
            latent = draw_noise(rng, ids, num_findings)
            labels = (latent > np.array([NORMAL.inv_cdf(1 - each) for each in prevalences])).astype(np.int8)
        shared, own, other = (draw_noise(rng, ids, num_findings) for _ in range(3))
        scores = math.sqrt(0.75) * shared + 0.5 * own + distances[0] * labels
        others = math.sqrt(0.75) * shared + 0.5 * other + distances[1] * labels
        row = int("AUPRC" in what)

        def measure(counts: np.ndarray) -> Floats:
            found = _resample(scores, labels, counts, None)[row]
            if "difference" in what:
                found = found - _resample(others, labels, counts, None)[row]
            return mean_defined(found)

        pos, neg = count_subjects(labels, ids)
        counts = sorted(int(each) for each in np.minimum(pos, neg) if each)
        return ids, counts[(len(counts) - 1) // 4] if counts else 0, measure

    return draw


SKEWS, R2S = ("normal", "skewed"), (-0.02, 0.3, 0.7)
FITS, SCALES = ("intercept", "slope", "Brier"), (1.0, 1.5)
MACRO = (("words", 5), ("macro AUROC", 14), ("macro AUROC difference", 14), ("macro AUPRC difference", 14))
FAR = (1.5, 0.2)
SINGLE = (("AUROC", 1), ("AUROC difference", 1), ("AUPRC difference", 1))
WORLDS = (
    *(World("R2 of a number", f"{kind} {r2:g}", of_r2(kind, r2), most=1.0) for kind in SKEWS for r2 in R2S),
    *(World("R2 of features", f"{r2:g}", of_r2("features", r2), most=1.0) for r2 in (0.05, 0.3)),
    *(World(f"calibration {fit}", f"scale {each:g}", of_calibration(fit, each)) for fit in FITS for each in SCALES),
    *(World("sensitivity", f"{share:g}", of_share("sensitivity", share), 0.0, 1.0) for share in (0.6, 0.9)),
    *(World("mean of films", f"{share:g}", of_share("mean", share), 0.0, 1.0) for share in (0.2, 0.5)),
    *(
        World(what, f"d {distance:g}", of_groups(what, distance), -1.0 if what == "gap" else 0.0, 1.0)
        for what in ("group", "gap", "matched")
        for distance in (0.8, 1.8)
    ),
    *(
        World(what, f"{num}", of_macro(what, num), -1.0 if "difference" in what else 0.0, 1.0)
        for what, num in (*MACRO, *SINGLE)
    ),
    *(World(what, f"{num} far apart", of_macro(what, num, FAR), -1.0, 1.0) for what, num in (*MACRO[2:], *SINGLE[1:])),
)


@dataclass(frozen=True)
class Drawn:
    """A test set of a world, with its intervals by METHODS."""

    num_rarer: int
    value: float
    ends: tuple[tuple[float, float], ...]


def draw_once(world: World, num_subjects: int, number: int, num_resamples: int) -> Drawn | None:
    """Return a test set; None where there is no interval."""
    ids, num_rarer, measure = world.draw(np.random.default_rng((number, num_subjects)), num_subjects)
    if num_rarer < 2:
        return None
    value = float(measure(np.ones((1, len(ids)), np.uint16))[0])
    samples = measure(draw_counts(ids, num_resamples, np.random.default_rng((1, number, num_subjects))))
    without = measure((np.arange(num_subjects)[:, None] != ids).astype(np.uint16))
    plain = percentile_interval(value, samples, num_rarer)
    if not plain.has_interval:
        return None
    bca, shift = bca_interval(value, samples, without, num_rarer), value - float(np.nanmedian(samples))
    centred = max(plain.lo + shift, world.least), min(plain.hi + shift, world.most)
    return Drawn(num_rarer, value, ((plain.lo, plain.hi), (bca.lo, bca.hi), centred))


def draw_counts(ids: np.ndarray, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each film is in each resample of whole subjects; as `draw_subject_counts`, but fast."""
    num = int(ids[-1]) + 1
    drawn = rng.integers(num, size=(num_resamples, num)) + num * np.arange(num_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=num * num_resamples).reshape(num_resamples, num)
    return counts.astype(np.uint16)[:, ids]


def find_truth(world: World) -> float:
    """Return the metric in a population."""
    ids, _, measure = world.draw(np.random.default_rng(7), NUM_LARGE)
    return float(measure(np.ones((1, len(ids)), np.uint16))[0])


@dataclass(frozen=True)
class Held:
    """How many of the intervals of a world hold its truth, and the mean value of its size, by METHODS; in percent."""

    num: int
    truth: tuple[float, ...]
    mean: tuple[float, ...]
    own: tuple[float, ...]
    """The value that they are of."""


def count_held(drawn: Sequence[Drawn], truth: float) -> Held:
    """Return the shares of intervals that hold what they are of."""
    ends, values = np.array([each.ends for each in drawn]), np.array([each.value for each in drawn])
    shares = [
        (100 * ((ends[:, :, 0] <= what) & (what <= ends[:, :, 1])).mean(axis=0)).tolist()
        for what in (truth, values.mean(), values[:, None])
    ]
    return Held(len(drawn), *(tuple(each) for each in shares))


def measure_world(world: World, num_worlds: int, num_subjects: int, num_resamples: int = 300) -> list[Drawn]:
    """Return test sets of a size, those without an interval left out."""
    drawn = (draw_once(world, num_subjects, number, num_resamples) for number in range(num_worlds))
    return [each for each in drawn if each is not None]


def print_table(num_worlds: int, wanted: Sequence[str]) -> None:
    """Print what holds, a line for each world and size, and for each world and band of subjects."""
    for world in (each for each in WORLDS if not wanted or each.metric in wanted):
        rows = {f"{size} subjects": measure_world(world, num_worlds, size) for size in SIZES}
        everything = [each for drawn in rows.values() for each in drawn]
        for low, high in itertools.pairwise(BANDS):
            rows[f"{low} to {high - 1} rarer"] = [each for each in everything if low <= each.num_rarer < high]
        truth = find_truth(world)
        for name, drawn in ((name, drawn) for name, drawn in rows.items() if drawn):
            held = count_held(drawn, truth)
            shares = zip(METHODS, held.truth, held.mean, held.own, strict=True)
            cells = "  ".join(f"{method} {a:.1f} (mean {b:.1f}, own {c:.1f})" for method, a, b, c in shares)
            sys.stdout.write(f"{world.metric}, {world.name}, {name} ({held.num}): {cells}\n")


if __name__ == "__main__":
    print_table(int(sys.argv[1]) if len(sys.argv) > 1 else 500, sys.argv[2:])
