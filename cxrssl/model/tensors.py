"""The tensors of a foreign encoder under timm's names, every one accounted for.

In: the tensors of a safetensors file and what the user calls no part of the encoder. Out: a state dict, what was left
out. Never: a tensor that is dropped without a word.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, plain, shell_word

HUGGINGFACE, TIMM = "huggingface", "timm"
CLASS_TOKENS = {"embeddings.cls_token": HUGGINGFACE, "cls_token": TIMM}
"""Name of the class token -> whose names the tensors have."""
PATCH_WEIGHT, PATCH_BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"
UNUSED = "mask_token"
"""Stands for hidden patches, of which a whole film has none."""
LAYER = r"encoder\.layer\.(\d+)\."
RENAMED = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"patch_embed.proj.\1"),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
    (LAYER + r"(?:layernorm_before|norm1)\.(weight|bias)", r"blocks.\1.norm1.\2"),
    (LAYER + r"(?:layernorm_after|norm2)\.(weight|bias)", r"blocks.\1.norm2.\2"),
    (LAYER + r"attention\.attention\.(query|key|value)\.(weight|bias)", r"blocks.\1.attn.\2.\3"),
    (LAYER + r"attention\.output\.dense\.(weight|bias)", r"blocks.\1.attn.proj.\2"),
    (LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (LAYER + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
)
"""Hugging Face's name of a tensor of ViT or DINOv2 -> timm's; queries, keys and values are joined afterwards."""


@dataclass(frozen=True)
class NamedTensors:
    """An encoder's tensors under timm's names."""

    format: str
    tensors: dict[str, Tensor]
    ignored: tuple[str, ...]
    """Names in the file of what is no part of the encoder."""


def name_tensors(found: Mapping[str, Tensor], ignore: Sequence[str], path: Path) -> NamedTensors:
    """Return the tensors of a file under timm's names, those that fit a pattern of `ignore` left out.

    Raises: UsageError for a pattern that fits no tensor, DataError for no or several encoders, for a tensor that has no
    place in one, and for values that are not finite.
    """
    for pattern in ignore:
        if not fnmatch.filter(found, pattern):
            raise UsageError(f"no tensor fits --ignore {shell_word(pattern)}", path, _some(sorted(found)))
    ignored = {name for name in found if _is_unused(name) or any(fnmatch.fnmatchcase(name, each) for each in ignore)}
    left = {name: tensor for name, tensor in found.items() if name not in ignored}
    prefix, names = _find_encoder(list(left), path)
    renamed = {name: _rename(name.removeprefix(prefix), names) for name in left if name.startswith(prefix)}
    strangers = sorted(name for name in left if not renamed.get(name))
    if strangers:
        what = f"{count_noun(len(strangers), 'tensor')} of the file have no place in an encoder: {_some(strangers)}"
        raise DataError(what, path, _ignore_hint(strangers))
    tensors = {new: left[name].float() for name, new in renamed.items() if new}
    broken = sorted(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        raise DataError(f"weights are not finite: {_some(broken)}", path)
    return NamedTensors(names, _place_registers(_join_qkv(tensors)), tuple(sorted(ignored)))


def check_fit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], architecture: str, path: Path) -> None:
    """Raise DataError unless the file has exactly the tensors of the architecture, each of its shape."""
    missing, strangers = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing:
        what = f"{count_noun(len(missing), 'tensor')} of {architecture} are not in the file: {_some(missing)}"
        raise DataError(what, path, "choose the architecture that the weights are of, with --arch")
    if strangers:
        what = f"{count_noun(len(strangers), 'tensor')} of the file have no place in {architecture}: {_some(strangers)}"
        raise DataError(what, path, _ignore_hint(strangers))
    others = [
        f"{name} is {list(tensors[name].shape)}, not {list(wanted[name].shape)}"
        for name in sorted(wanted)
        if tensors[name].shape != wanted[name].shape
    ]
    if others:
        what = f"{count_noun(len(others), 'tensor')} of the file have another shape than in {architecture}: "
        raise DataError(what + _some(others), path, "choose the architecture that the weights are of, with --arch")


def check_header(data: bytes, module: Any, architecture: str, path: Path) -> None:
    """Raise DataError when the header of a safetensors file names other heads or norms than the module has.

    No shape of a tensor depends on either. Exports of cxrssl say both; a file that says nothing is taken at its word.
    """
    said = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    heads = {int(block.attn.num_heads) for block in module.blocks}
    facts = (("heads", "heads", heads), ("norm_eps", "as epsilon of its norms", {float(module.norm.eps)}))
    for key, words, found in facts:
        try:
            is_same = key not in said or {float(said[key])} == found
        except ValueError:
            is_same = False
        if not is_same:
            has = ", ".join(f"{value:g}" for value in sorted(found))
            what = f"the file says {plain(said[key], 20)} {words}, {architecture} has {has}"
            hint = "the weights fit both and give other features: name the folder of the export, or the right --arch"
            raise DataError(what, path, hint)


def fold_pixels(weight_DCPP: Tensor, bias_D: Tensor | None, mean_C: Sequence[float], std_C: Sequence[float]) -> Tensor:
    """Return the patch embedding of one grey channel in [0, 1] as [D, P P + 1]: weights, then the bias.

    A grey film in every channel c, less its mean m_c and by its deviation s_c, gives the same sum:
    sum_c w_c (x - m_c) / s_c = (sum_c w_c / s_c) x - sum_c w_c m_c / s_c.
    """
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean_C, std_C))
    scaled = weight_DCPP.double() / std
    bias = torch.zeros(len(weight_DCPP), dtype=torch.float64) if bias_D is None else bias_D.double()
    offset = bias - (scaled * mean).sum(dim=(1, 2, 3))
    return torch.cat([scaled.sum(dim=1).flatten(1), offset[:, None]], dim=1).float()


def renormalise_pixels(
    weight_D1PP: Tensor, bias_D: Tensor | None, old: tuple[float, float], new: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a patch embedding for pixels normalised with another mean and deviation: the same sum.

    With y = (x - n) / t in place of (x - m) / s:  w (x - m) / s = (t / s) w y + w (n - m) / s.
    """
    (old_mean, old_std), (new_mean, new_std) = old, new
    weight = weight_D1PP.double()
    bias = torch.zeros(len(weight), dtype=torch.float64) if bias_D is None else bias_D.double()
    offset = weight.sum(dim=(1, 2, 3)) * ((new_mean - old_mean) / old_std)
    return (weight * (new_std / old_std)).float(), (bias + offset).float()


def spread_pixels(weight_D1PP: Tensor, channels: int) -> Tensor:
    """Return the patch embedding of a grey film that is given in every channel, [D, channels, P, P]: the same sum."""
    return (weight_D1PP.double() / channels).expand(-1, channels, -1, -1).to(weight_D1PP.dtype).contiguous()


def _is_unused(name: str) -> bool:
    return name.rpartition(".")[2] == UNUSED


def _find_encoder(names: Sequence[str], path: Path) -> tuple[str, str]:
    """Return the prefix of the encoder's names and whose names they are."""
    found: dict[str, str] = {}
    for token, whose in CLASS_TOKENS.items():
        prefixes = {name.removesuffix(token) for name in names if name == token or name.endswith("." + token)}
        found |= {prefix: whose for prefix in prefixes if not prefix.endswith("embeddings.")}
    if not found:
        hint = "known are ViTs with a class token under timm's or Hugging Face's names"
        raise DataError("the file holds no encoder that is known: no tensor is a class token", path, hint)
    if len(found) > 1:
        what = f"the file holds {len(found)} encoders: {', '.join(plain(prefix, 60) or 'one' for prefix in found)}"
        raise DataError(what, path, f"leave all but one out: --ignore {shell_word(max(found) + '*')}")
    return next(iter(found.items()))


def _rename(name: str, names: str) -> str:
    """Return timm's name of a tensor, "" where it has none."""
    if names == TIMM:
        return name
    for pattern, new in RENAMED:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(new)
    return ""


def _join_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with queries, keys and values in one, where all three are there."""
    joined = dict(tensors)
    for name in tensors:
        block, is_query, kind = name.partition(".query.")
        parts = [f"{block}.{part}.{kind}" for part in ("query", "key", "value")]
        if is_query and all(part in joined for part in parts):
            joined[f"{block}.qkv.{kind}"] = torch.cat([joined.pop(part) for part in parts])
    return joined


def _place_registers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the class token's position in the class token, where there are registers.

    timm adds positions to patches alone then; Hugging Face's files hold one for the class token too.
    """
    position, token = tensors.get("pos_embed"), tensors.get("cls_token")
    if "reg_token" not in tensors or position is None or token is None or position.ndim != 3:
        return tensors
    num_patches = position.shape[1] - 1
    if round(num_patches**0.5) ** 2 != num_patches:
        return tensors
    return {**tensors, "cls_token": token + position[:, :1], "pos_embed": position[:, 1:]}


def _ignore_hint(names: Sequence[str]) -> str:
    patterns = dict.fromkeys(f"{name.partition('.')[0]}*" for name in names)
    return f"if they are no part of the encoder, such as a head, say so: --ignore {shell_word(next(iter(patterns)))}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(plain(name, 120) for name in names[:6])
    return f"{shown} and {len(names) - 6:,} more" if len(names) > 6 else shown
