"""Protocols of others: how they read, train and choose what is scored, each with its source.

In: a name, or a TOML file. Out: Protocol. Never: a choice on test films that was not asked for by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from cxrssl.core.config import build_settings, read_toml, setting
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import ConfigError, UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain, shell_word
from cxrssl.evaluate.asked import Asked
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.fields import write_fields

ON_TEST = "test"
TUNE_WIDTHS = (192, 384)
"""Of ViT-T and ViT-S."""


@dataclass(frozen=True)
class Show:
    """How films are shown: val and test films as a square in their middle, train films changed each time."""

    middle_frac: float = setting(1.0, low=0.1, high=1.0)
    """Side of the square, as a fraction of the shorter side of the film."""
    crop_scale: tuple[float, float] | None = setting(None, low=0.001, high=1.0)
    """Of a train film a random crop in place of the square: range of its area as a fraction of the film."""
    zoom: tuple[float, float] = setting((1.0, 1.0), low=0.25, high=4.0)
    """Range of the factor by which a train film is enlarged."""
    translate_frac: float = setting(0.0, low=0.0, high=1.0)
    """A train film is moved along each side by up to this fraction of the side; of a random crop, of the crop's."""
    rotation_deg: float = setting(0.0, low=0.0, high=45.0)
    flip_prob: float = setting(0.0, low=0.0, high=1.0)
    contrast: float = setting(0.0, low=0.0, high=0.9)
    brightness: float = setting(0.0, low=0.0, high=0.9)

    @property
    def is_changed(self) -> bool:
        """Whether a train film is shown in another way each time."""
        still = dataclasses.replace(self, crop_scale=None, middle_frac=1.0)
        return self.crop_scale is not None or still != Show()


@dataclass(frozen=True)
class Fit:
    """How heads are trained, and which is kept."""

    optimiser: str = setting("adam", options=("adam", "adamw"))
    rates: tuple[float, ...] = (1e-3,)
    """A head is trained at each of them."""
    weight_decay: float = setting(0.0, low=0.0, high=10.0)
    batch_films: int = setting(64, low=1, high=65536)
    epochs: int = setting(50, low=1, high=100_000)
    """After each of them the heads are judged."""
    epoch_steps: int = setting(0, low=0, high=10**7)
    """Steps of an epoch; 0 for a pass over the train films, without a last batch that is not full."""
    schedule: str = setting("none", options=("none", "epoch", "step"))
    """A cosine from the rate to 0, lowered after each epoch or step."""
    start: str = setting("uniform", options=("uniform", "normal"))
    """First weights: uniform in +- 1 / sqrt(features), the biases too; or of deviation 0.01, the biases 0."""
    patience: int = setting(0, low=0, high=100_000)
    """Epochs without gain after which training stops; 0 for all epochs."""
    min_gain: float = setting(0.0, low=0.0, high=1.0)
    """What counts as gain of the macro AUROC."""
    digits: int = setting(0, low=0, high=15)
    """To which the macro AUROC is rounded; 0 for none."""
    draws: int = setting(1, low=1, high=100)
    """Of the first weights of all heads; of each draw one head is kept, and the mean of their test scores is given."""


@dataclass(frozen=True)
class Tune:
    """How the encoder is trained with its head, and after which epochs films are scored."""

    epochs: tuple[int, ...] = ()
    """Of encoders up to the width of ViT-T (192), up to that of ViT-S (384), and wider; one number is for all, and none
    leaves encoders frozen."""
    batch_films: int = setting(64, low=2, high=65536)
    """All train films where they are fewer."""
    rate: float = setting(1e-3, low=1e-9, high=10.0)
    rate_final: float = setting(0.0, low=0.0, high=10.0)
    """Where its cosine ends."""
    warmup_epochs: float = setting(0.0, low=0.0, high=100_000.0)
    """In which the rate rises from 0."""
    weight_decay: float = setting(0.0, low=0.0, high=10.0)
    layer_decay: float = setting(1.0, low=0.01, high=1.0)
    """What the rate is multiplied by from each layer to the one before it."""
    drop_path: float = setting(0.0, low=0.0, high=0.9)
    clip_norm: float = setting(0.0, low=0.0, high=1e6)
    """Largest gradient norm; 0 for any."""
    score_every: int = setting(1, low=1, high=100_000)
    """Films are scored after the first epoch, then after each so many, and after the last."""

    def epochs_of(self, width: int) -> int:
        """Return how many epochs an encoder of this width is trained."""
        if len(self.epochs) == 1:
            return self.epochs[0]
        return self.epochs[sum(width > most for most in TUNE_WIDTHS)]


@dataclass(frozen=True)
class Protocol:
    """What changes the numbers of an evaluation, with sources and choices by the names of fields, as "fit.rates"."""

    name: str = ""
    title: str = ""
    source: str = ""
    read: tuple[str, ...] = ("cls",)
    """What heads read: "cls", "last:4", "patches", or several of them with a plus; a head is trained on each."""
    findings: str = ""
    """A named set; empty leaves it to the user."""
    uncertain: str = setting("ignore", options=("ignore", "zeros", "ones"))
    blank: str = setting("zeros", options=("zeros", "ignore"))
    selected_on: str = setting("val", options=("val", "test"))
    """Films by which the epoch and the head are chosen."""
    drops_last: bool = False
    """Whether the last val and test films that do not fill a batch are left out."""
    show: Show = Show()
    fit: Fit = Fit()
    tune: Tune = Tune()
    sources: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)
    """What the source leaves open, and where we leave it."""

    @property
    def is_tuned(self) -> bool:
        """Whether encoders are trained, and not heads alone."""
        return bool(self.tune.epochs)

    @property
    def sha256(self) -> str:
        """Of all that changes numbers."""
        said = ("name", "title", "source", "sources", "ours", *(() if self.is_tuned else ("tune",)))
        values = {key: value for key, value in write_fields(self).items() if key not in said}
        if self.fit.draws == 1:  # as protocols had no draws before
            del values["fit"]["draws"]
        return hash_settings(values)


def protocol_names() -> list[str]:
    """Return the names of the protocols that come with the package."""
    folder = resources.files("cxrssl") / "evaluate" / "protocols"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_protocol(text: str) -> Protocol:
    """Return the protocol of a name, or of a TOML file; one that selects on test is asked for as "NAME:test".

    Raises: UsageError for an unknown name, or a choice on test films that is not named; ConfigError for a wrong value.
    """
    name, _, named = text.strip().partition(":")
    protocol = read_protocol(name)
    if named not in ("", ON_TEST):
        raise UsageError(f'--protocol cannot be "{plain(text, 80)}"', hint="write NAME, or NAME:test")
    if protocol.selected_on == ON_TEST and not named:
        what = f"protocol {protocol.name} keeps what is best on the test films, so that its scores are too high"
        hint = f"name that: --protocol {shell_word(name + ':test')}; every report will then begin with it"
        raise UsageError(what, hint=hint)
    if named and protocol.selected_on != ON_TEST:
        what = f"protocol {protocol.name} selects on val, not on test"
        raise UsageError(what, hint=f"--protocol {shell_word(name)}")
    return protocol


def read_protocol(name: str) -> Protocol:
    """Return the protocol of a name, or of a TOML file. Raises: UsageError, ConfigError."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in protocol_names():
            hint = nearest_hint(name, protocol_names())
            raise UsageError(f'there is no protocol "{plain(name, 60)}"', hint=hint)
        path = Path(str(resources.files("cxrssl") / "evaluate" / "protocols" / f"{name}.toml"))
    elif path.stem in protocol_names():
        raise ConfigError(f"a protocol of the package is called {path.stem}", path, "give the file a name of its own")
    values = read_toml(path)
    sources, ours = (_read_words(values.pop(key, {}), key) for key in ("sources", "ours"))
    built = build_settings(Protocol, {**values, "name": plain(path.stem, 60)})
    protocol = dataclasses.replace(built, sources=sources, ours=ours)
    _check(protocol)
    return protocol


def _read_words(values: Any, where: str) -> dict[str, str]:
    if not isinstance(values, Mapping) or not all(isinstance(each, str) for each in values.values()):
        raise ConfigError(f'"{where}" must be a table of words')
    return dict(values)


def _check(protocol: Protocol) -> None:
    """Raise ConfigError for values that cannot be, each within its bounds."""
    fit, show = protocol.fit, protocol.show
    if not protocol.read or not fit.rates:
        raise ConfigError('"read" and "fit.rates" name one or more')
    if not all(0 < rate <= 10 for rate in fit.rates):
        raise ConfigError('"fit.rates" are positive, and 10 at most')
    for where, (low, high) in (("zoom", show.zoom), ("crop_scale", show.crop_scale or (1.0, 1.0))):
        if low > high:
            raise ConfigError(f'"show.{where}" is a range from {low:g} to {high:g}')
    if fit.patience and fit.draws > 1:
        raise ConfigError('"fit.patience" ends the training of one draw of heads, and "fit.draws" is more')
    if protocol.is_tuned:
        _check_tuned(protocol)


def _check_tuned(protocol: Protocol) -> None:
    tune, show = protocol.tune, protocol.show
    if len(tune.epochs) not in (1, 1 + len(TUNE_WIDTHS)) or min(tune.epochs) < 1:
        raise ConfigError('"tune.epochs" is one positive number, or three, by the width of the encoder')
    if protocol.read not in (("cls",), ("patches",)):
        raise ConfigError('a protocol that fine-tunes reads "cls" or "patches"')
    if (show.zoom, show.translate_frac) != ((1.0, 1.0), 0.0):
        raise ConfigError('a protocol that fine-tunes has no "show.zoom" and no "show.translate_frac"')
    if protocol.fit != Fit():
        raise ConfigError('a protocol that fine-tunes says how under "tune", and "fit" says nothing')
    if tune.rate_final > tune.rate:
        raise ConfigError('"tune.rate_final" is above "tune.rate"')
    if protocol.drops_last:
        raise ConfigError('a protocol that fine-tunes scores all films: leave "drops_last" out')


def follow(protocol: Protocol | None, settings: ProbeSettings, asked: Asked) -> tuple[ProbeSettings, Asked]:
    """Return the settings of a probe and what is asked as a protocol has them; None leaves them as they are."""
    if protocol is None:
        return settings, asked
    decided = {
        "blank": protocol.blank,
        "protocol": protocol.name,
        "protocol_sha256": protocol.sha256,
        "selected_on": protocol.selected_on,
        "drop_batch": protocol.fit.batch_films if protocol.drops_last else None,
    }
    settings = build_settings(
        ProbeSettings, {**write_fields(settings), **{key: value for key, value in decided.items() if value}}
    )
    return settings, dataclasses.replace(
        asked, uncertain=protocol.uncertain, findings=protocol.findings or asked.findings
    )


def describe_protocol(protocol: Protocol) -> list[str]:
    """Return a protocol in lines: what it is, each value with its source, and what we chose."""
    values = flatten(write_fields(protocol))
    lines = [f"{protocol.name}: {protocol.title}", f"  source: {protocol.source}"]
    lines += [f"  {name} = {_show(values.get(name))}   [{said}]" for name, said in protocol.sources.items()]
    for name, said in protocol.ours.items():
        # A value that is set in the file, where the source does not state it.
        is_set = "." in name or (name == "read" and name not in protocol.sources)
        lines.append(f"  ours, {name}{f' = {_show(values.get(name))}' if is_set else ''}: {said}")
    return lines


def flatten(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested tables as one, with keys as "fit.rates"."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {before + key: value}
    return found


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value))
    return (
        f"{value:g}" if isinstance(value, float) else "yes" if value is True else "no" if value is False else str(value)
    )


def describe_cost(protocol: Protocol, num_train: int, num_encoders: int) -> str:
    """Return in a sentence how many films are encoded for a protocol."""
    steps = protocol.fit.epoch_steps or max(1, num_train // protocol.fit.batch_films)
    films = steps * min(protocol.fit.batch_films, max(1, num_train))
    if not protocol.show.is_changed:
        return f"protocol {protocol.name}: each film is encoded once"
    most = "at most " if protocol.fit.patience else ""
    return (
        f"protocol {protocol.name}: {most}{count_noun(protocol.fit.epochs, 'epoch')} of {films:,} films, encoded anew: "
        f"{most}{protocol.fit.epochs * films:,} films for each of {count_noun(num_encoders, 'encoder')}"
    )
