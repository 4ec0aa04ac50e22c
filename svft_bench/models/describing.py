"""The YAML of a model from its configuration alone: `describe_model(folder, name="mine")` builds it without weights."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoTokenizer, PretrainedConfig

from svft_bench.config.home import from_home
from svft_bench.config.spec import KINDS, Kind, ModelSpec
from svft_bench.models.blocks import check_numbers
from svft_bench.models.describing_images import image_fields
from svft_bench.models.grids import plain_grid
from svft_bench.models.hub import commit_of
from svft_bench.models.loading import AUTO, DTYPES

# What a matrix of a block is called where it is one of the usual ones: the end of its name -> its letter.
LETTERS = {
    "qkv": r"query_key_value|qkv_proj|qkv|Wqkv|c_attn",
    "gu": r"gate_up_proj|mlp\.Wi",
    "q": r"q_proj|query|query_proj|q_lin|wq|attn\.q|\w+Attention\.q",
    "k": r"k_proj|key|key_proj|k_lin|wk|attn\.k|\w+Attention\.k",
    "v": r"v_proj|value|value_proj|v_lin|wv|attn\.v|\w+Attention\.v",
    "o": (
        r"o_proj|out_proj|out_lin|attention\.output\.dense|attention\.dense|self_attention\.dense|attn\.(?:proj|Wo|o)"
        r"|\w+Attention\.o"
    ),
    "g": r"gate_proj|w1|wi_0",
    "u": r"up_proj|fc1|intermediate\.dense|lin1|dense_h_to_4h|c_fc|fc_in|w3|mlp\.up|DenseReluDense\.wi|wi_1",
    "d": r"down_proj|fc2|output\.dense|lin2|dense_4h_to_h|fc_out|w2|mlp\.Wo|DenseReluDense\.wo",
}
CROSS = re.compile(r"encoder_attn|EncDecAttention|cross_?attn|cross_?attention", re.IGNORECASE)
GROUPS = ("qv", "qkv", "qkvo", "gu", "ud", "udog", "qkvud", "qkvudog", "qkvoud")
FUSED = {"qkv": "query, key and value are one fused matrix", "gu": "gate and up are one fused matrix"}


@dataclass(frozen=True)
class Described:
    """The fields of a model's file, and what there is to say of it."""

    fields: dict[str, Any]
    notes: tuple[str, ...]


def describe_model(path: str, *, name: str, title: str, kind: Kind | None = None) -> Described:
    """What the configuration at `path`, a folder or a repository of the hub, says of its blocks and matrices.

    Raises:
        ValueError: there is none, it is of no kind that is known here, or its blocks have no linear layers of a shape.
    """
    where, commit, config = _configured(path)
    kind = _kind(config) if kind is None else kind
    if KINDS[kind].images:
        plain_grid(config, model=path)
    model = _on_meta(config, kind=kind, path=path)
    parts = _parts(model, path=path) if KINDS[kind].two_parts else {"": _blocks(model, path=path)}
    found = {part: _matrices(blocks, path=path, of=part) for part, (_, blocks) in parts.items()}
    matrices = {letter: shape for shapes, _, _ in found.values() for letter, shape in shapes.items()}
    notes = [note for _, _, told in found.values() for note in told]
    names = {name for name, _ in model.named_modules()}
    placed = {letter: (parts[part][0], own) for part, (_, of, _) in found.items() for letter, own in of.items()}
    blocks = [block for _, of_part in parts.values() for block in of_part]
    prefix = model.base_model_prefix
    children = [child for child, part in model.named_children() if any(True for _ in part.parameters())]
    head = [] if not KINDS[kind].head else [child for child in children if child != prefix]
    body = [p for full, p in model.named_parameters() if full.split(".")[0] not in head]
    linear = [part for block in blocks for part in block.modules() if isinstance(part, nn.Linear)]
    biased = sum(part.bias is not None for part in linear)
    if 0 < biased < len(linear):
        notes.append("some of its matrices have a bias and some have none")
    if KINDS[kind].writes and config.get_text_config().tie_word_embeddings:
        notes.append("its head is tied to the embeddings and counted once")
    image, told = image_fields(where, config, revision=commit) if KINDS[kind].images else (None, [])
    notes += told
    fields: dict[str, Any] = {
        "name": name,
        "title": title,
        "architecture": config.model_type,
        "source": "hub",
        "path": where,
        "revision": commit,
        "kinds": [kind],
        "dtype": _dtype(config, kind=kind),
        "attention": "sdpa" if getattr(model, "_supports_sdpa", False) else "eager",
        "padding_side": KINDS[kind].padding_side,
        **_tokens(where, kind=kind, revision=commit),
        "image": image,
        "head_modules": head,
        **(_two_parts(placed) if KINDS[kind].two_parts else {"targets": _targets(placed, names=names)}),
        "layers": len(blocks) // len(parts),
        "parameters": sum(p.numel() for p in body),
        "biases": biased == len(linear),
        "matrices": {letter: list(shape) for letter, shape in matrices.items()},
    }
    if KINDS[kind].images and isinstance(patch := getattr(config, "patch_size", None), int):
        fields["patch"] = patch
    check_numbers(model, ModelSpec.model_validate(fields), kind=kind)
    return Described(fields, tuple(notes))


def _configured(path: str) -> tuple[str, str | None, PretrainedConfig]:
    """Where the model is, the commit that its repository of the hub is at now, and its configuration there.

    Raises:
        ValueError: there is none that can be read.
    """
    folder = from_home(path)
    where = str(folder.absolute()) if folder.is_dir() else path
    try:
        commit = None if folder.is_dir() else commit_of(path, kind="model", revision=None)
        return where, commit, AutoConfig.from_pretrained(where, revision=commit or "main")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} has no configuration that can be read ({str(error).splitlines()[0]})") from None


def _kind(config: PretrainedConfig) -> Kind:
    """Decoders are language models, encoders classify texts, and both together write what was read."""
    known: list[Kind] = [kind for kind in get_args(Kind) if type(config) in AUTO[kind]._model_mapping]
    if not known:
        raise ValueError(f"{config.model_type} is no family of decoders, encoders or vision transformers here")
    if config.is_encoder_decoder:
        return next((kind for kind in known if KINDS[kind].two_parts), known[0])
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    fitting = [kind for kind in known if KINDS[kind].images or KINDS[kind].writes != encoder]
    return (fitting or known)[0]


def _on_meta(config: PretrainedConfig, *, kind: Kind, path: str) -> Any:
    if config.is_encoder_decoder != KINDS[kind].two_parts:
        told = "an encoder with a decoder" if config.is_encoder_decoder else "no encoder with a decoder"
        raise ValueError(f"{path} is {told}, {config.model_type}, which is nothing for {kind}")
    config.architectures = config.architectures or []  # which the library runs through
    try:
        with torch.device("meta"):
            return AUTO[kind].from_config(config, dtype=torch.float32)
    except (ValueError, TypeError, AttributeError, ImportError, AssertionError) as error:
        raise ValueError(f"{path}: its {config.model_type} cannot be built ({str(error).splitlines()[0]})") from None


Blocks = tuple[str, list[nn.Module]]  # where a list of them is, and they


def _parts(model: nn.Module, *, path: str) -> dict[str, Blocks]:
    """The blocks of an encoder and of its decoder.

    Raises:
        ValueError: one of them has none, or another number of them.
    """
    # T5 has lists of layers in its blocks.
    lists = [(name, part) for name, part in _lists(model) if not re.search(r"\.\d+\.", name)]
    found = {part: [one for one in lists if part in one[0].split(".")] for part in ("encoder", "decoder")}
    counts = {part: [len(blocks) for _, blocks in of] for part, of in found.items()}
    if len({tuple(one) for one in counts.values()}) != 1 or len(lists) != len(found):
        told = " and ".join(f"{part} {one[0] if one else 'none'}" for part, one in counts.items())
        raise ValueError(f"{path}: an encoder and a decoder with as many blocks are known here, it has of the {told}")
    return {part: of[0] for part, of in found.items()}


def _lists(model: nn.Module) -> list[Blocks]:
    return [
        (name, list(part))
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList) and any(isinstance(one, nn.Linear) for one in part.modules())
    ]


def _blocks(model: nn.Module, *, path: str) -> Blocks:
    """The longest list of alike modules with linear layers in it, and where it is."""
    lists = _lists(model)
    if not lists:
        kinds = sorted({type(part).__name__ for part in model.modules() if getattr(part, "weight", None) is not None})
        raise ValueError(f"{path} has no blocks of linear layers; its layers are {', '.join(kinds)}")
    return max(
        lists, key=lambda found: (sum(p.numel() for part in found[1] for p in part.parameters()), -len(found[0]))
    )


def _matrices(
    blocks: list[nn.Module], *, path: str, of: str = ""
) -> tuple[dict[str, tuple[int, int]], dict[str, str], list[str]]:
    """[in, out] of each matrix by its letter, the letters' names in a block, and what is no such matrix.

    Letters of an encoder or decoder have its name before them, those of the attention between the two another.
    """
    shapes: dict[str, set[tuple[int, int]]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    notes, stacked = [], set()
    for block in blocks:
        for name, part in block.named_modules():
            if isinstance(part, nn.Linear):
                shapes[name].add((part.in_features, part.out_features))
                counts[name] += 1
        stacked |= {name for name, p in block.named_parameters() if p.dim() == 3}
    if stacked:
        notes.append(f"mixture of experts: {', '.join(sorted(stacked))} are stacks of matrices, not linear layers")
    alike = [name for name, found in shapes.items() if len(found) == 1 and counts[name] == len(blocks)]
    if other := sorted(set(shapes) - set(alike)):
        notes.append(f"not in every block, or not in one shape, so left out: {', '.join(other)}")
    if not alike:
        raise ValueError(
            f"{path}: its blocks have no matrix of one shape in all of them, as {', '.join(other)} are not"
        )
    letters: dict[str, str] = {}
    for name in alike:
        usual = next((letter for letter, ends in LETTERS.items() if re.search(rf"(?:^|\.)(?:{ends})$", name)), None)
        own = re.sub(r"\W", "_", name)
        before = "" if not of else "cross_" if of == "decoder" and CROSS.search(name) else f"{of}_"
        letters[before + (own if usual is None or before + usual in letters else usual)] = name
    notes += [text for letter, text in FUSED.items() if letter in letters]
    return {letter: next(iter(shapes[name])) for letter, name in letters.items()}, letters, notes


def _two_parts(placed: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """`targets` and `groups`: each matrix, each part, and each letter and usual group wherever it stands."""
    letters = list(dict.fromkeys(letter.partition("_")[2] for letter in placed))
    groups = {part: [one for one in placed if one.startswith(part)] for part in ("encoder", "cross")}
    groups["decoder"] = [one for one in placed if one not in groups["encoder"]]
    groups |= {letter: [one for one in placed if one.partition("_")[2] == letter] for letter in letters}
    spelled = {
        group: [one for letter in group for one in groups[letter]] for group in GROUPS if {*group} <= groups.keys()
    }

    def target(chosen: list[str]) -> str:
        modules = (rf"{re.escape(place)}\.\d+\.{re.escape(name)}" for place, name in map(placed.__getitem__, chosen))
        return f"(?:{'|'.join(modules)})"

    wanted = {**{letter: [letter] for letter in placed}, **groups, **spelled, "all_linear": list(placed)}
    return {"targets": {name: target(chosen) for name, chosen in wanted.items()}, "groups": groups}


def _targets(placed: dict[str, tuple[str, str]], *, names: set[str]) -> dict[str, Any]:
    """Module names of each letter and of the usual groups: suffixes, or a pattern where one would name others too."""
    place = next(iter(placed.values()))[0]
    letters = {letter: name for letter, (_, name) in placed.items()}
    inside = re.compile(rf"{re.escape(place)}\.\d+\.(.*)")

    def clear(name: str) -> bool:
        ends = [full for full in names if full.endswith(f".{name}")]
        return all((found := inside.fullmatch(full)) is not None and found[1] == name for full in ends)

    def target(chosen: list[str]) -> Any:
        if all(map(clear, chosen)):
            return chosen
        return rf".*{re.escape(place)}\.\d+\.({'|'.join(map(re.escape, chosen))})"

    groups = {letter: [name] for letter, name in letters.items()}
    for group in GROUPS:
        rest, chosen = group, []
        for letter in sorted(letters, key=len, reverse=True):
            if letter in rest:
                chosen.append(letters[letter])
                rest = rest.replace(letter, "", 1)
        if not rest:
            groups.setdefault(group, chosen)
    groups["all_linear"] = list(letters.values())
    return {group: target(chosen) for group, chosen in groups.items()}


def _dtype(config: PretrainedConfig, *, kind: Kind) -> str:
    stored = next((name for name, dtype in DTYPES.items() if dtype == config.dtype), "float32")
    return stored if KINDS[kind].writes and stored != "float16" else "float32"


def _tokens(path: str, *, kind: Kind, revision: str | None) -> dict[str, Any]:
    """What fills up batches: the tokenizer's own pad token, or one that is added where it has none but its end."""
    if KINDS[kind].images:
        return {"pad_token": None}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision or "main")
    except (OSError, ValueError, KeyError):
        return {"pad_token": "[PAD]", "pad_token_from": "added"}
    if tokenizer.pad_token is not None and tokenizer.pad_token != tokenizer.eos_token:
        return {"pad_token": tokenizer.pad_token}
    return {"pad_token": "[PAD]"} | ({} if "[PAD]" in tokenizer.get_vocab() else {"pad_token_from": "added"})
