"""Trained parameters in closed form, for answers that must not wait for a model; `audit` counts with the real code.

SVFT: n (2d + 1) - d (d + 1) per matrix, or n^2 of a dense core; n = min(in, out), or the rank of a truncated basis.
Tied, that is once for all matrices of one shape.
LoRA: r (in + out)        DoRA: LoRA + out
VeRA: out + r        BOFT: m (in / b) b^2 + out        VectorFit: n, and out where there is a bias
OFT: in (b - 1) / 2        C3A: in out / b        RandLoRA: k (r + min), k = ceil(min / r)        TinyLoRA: u
PSOFT: r (r + 3) / 2        BEFT: out        MiSS: r out        IA3: out
VB-LoRA: h r (in + out) / v, and once the bank of h vectors of v numbers
AdaLoRA: r (in + out + 1) with the rank that it starts with; how much of it is left depends on the data
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from svft_bench.config.spec import MethodSpec, ModelSpec

# Fields of adapters that count something, and their least values.
NUMBERS = {"r": 1, "off_diag": 0, "rank": 1, "entries": 1, "boft_block_size": 0, "boft_n_butterfly_factor": 1}
NUMBERS |= {"init_r": 2, "target_r": 1, "deltaT": 1, "oft_block_size": 0, "block_size": 1, "u": 1}
NUMBERS |= {"num_vectors": 1, "vector_length": 1}

# With one of these only the model itself can tell what trains.
SELECTING = (
    "off_diag_pattern",
    "entries_pattern",
    "rank_pattern",
    "trainable_token_indices",
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "block_share",  # of OFT
    "weight_tying",  # of TinyLoRA
    "feedforward_modules",  # of IA3, whose vectors are as long as the inputs there
)

Count = Callable[[int, int, dict[str, Any], bool], int | None]


def trained_parameters(model: ModelSpec, method: MethodSpec) -> int | None:
    """Parameters that train outside the head; None where only the model itself can tell (another PEFT type)."""
    if method.trains == "head":
        return 0
    if method.trains == "all":
        return model.parameters
    formula = FORMULAS.get(method.peft_type or "")
    if formula is None or method.modules is None or any(method.adapter.get(name) for name in SELECTING):
        return None
    chosen = adapted_matrices(model, method.modules)
    if method.adapter.get("tied"):
        chosen = [*{one.shape: one._replace(copies=1) for one in chosen}.values()]
    counts = [(one.copies, formula(*one.shape, method.adapter, model.has_bias(one.letters))) for one in chosen]
    known = [copies * each for copies, each in counts if each is not None]
    return sum(known) + _shared(method) if len(known) == len(counts) else None


class Matrices(NamedTuple):
    """So many matrices of one letter and one shape [in, out]."""

    letters: str
    shape: tuple[int, int]
    copies: int


def adapted_matrices(model: ModelSpec, modules: str) -> list[Matrices]:
    """The matrices of all blocks, and of the stem, in a group of modules, which is spelled by its matrices' letters."""
    letters = adapted_letters(model, modules)
    forms = [*((form.layers, form.matrices) for form in model.forms), (1, model.stem)]
    return [Matrices(one, shapes[one], copies) for copies, shapes in forms for one in letters if one in shapes]


def adapted_shapes(model: ModelSpec, modules: str) -> list[tuple[int, int]]:
    """[in, out] of each matrix of a block, or of a block of every form."""
    return [one.shape for one in adapted_matrices(model, modules)]


def adapted_letters(model: ModelSpec, modules: str) -> list[str]:
    """The letters of these matrices."""
    if modules == "all_linear":
        return list(model.matrices)
    chosen: list[str] = []
    rest = modules
    for letters in sorted([*model.matrices, *model.stem, *model.groups], key=len, reverse=True):
        if letters in rest:
            chosen += model.groups.get(letters, (letters,))
            rest = rest.replace(letters, "", 1)
    return chosen


def check_shapes(model: ModelSpec, method: MethodSpec) -> None:
    """Refuse targets of several shapes for a method that takes one, and what is larger than the smallest target.

    Raises:
        ValueError: names the shapes, and the groups of this model that have one; or the number and its limit.
    """
    for name, least in NUMBERS.items():
        value = method.adapter.get(name)
        if value is not None and (type(value) is not int or value < least):
            raise ValueError(f"method.{name}={value!r}: expected a whole number of {least} or more")
    first, last = (method.adapter.get(name) for name in ("init_r", "target_r"))
    if first is not None and last is not None and last >= first:
        raise ValueError(
            f"method.target_r={last}: ranks are taken away from method.init_r={first}, so it has to be less"
        )
    _check_limits(model, method)
    if not method.one_shape or method.modules is None:
        return
    shapes = dict.fromkeys(adapted_shapes(model, method.modules))
    if len(shapes) > 1:
        told = ", ".join(f"{outputs} x {inputs}" for inputs, outputs in shapes)
        fitting = [group for group in model.targets if len(set(adapted_shapes(model, group))) == 1]
        raise ValueError(
            f"method.modules={method.modules}: {method.name} shares one pair of matrices among targets of one shape, "
            f"those of model={model.name} are {told}; of one shape are {', '.join(fitting) or 'none'} "
            "(method.one_shape=false cuts the pair to fit)"
        )


def _check_limits(model: ModelSpec, method: MethodSpec) -> None:
    """A core has as many rows as the shorter side of its matrix: no diagonal or entry lies beyond that of the smallest.

    A rank may, as in SVFT's table of truncated bases: a matrix that has fewer singular values keeps them all.
    """
    clips = method.adapter.get("oversized") == "clip"
    if method.peft_type not in ("SVFT", "VECTORFIT") or method.modules is None:
        return
    sides = [min(shape) for shape in adapted_shapes(model, method.modules)] or [0]
    small, large = min(sides), max(sides)
    limits = {"off_diag": ("smallest", small, small - 1), "entries": ("smallest", small, small * small)}
    for name, (which, side, most) in (limits | {"rank": ("largest", large, large)} if large else {}).items():
        value = method.adapter.get(name)
        if value is not None and value > most and (name == "rank" or not clips):
            raise ValueError(
                f"method.{name}={value}: the {which} matrix of method.modules={method.modules} in model={model.name} "
                f"has {side} singular values, so {most:,} is the most"
            )


def frozen_factors(model: ModelSpec, method: MethodSpec) -> int:
    """Numbers in the singular vectors that a method keeps beside the weights: those of the short side alone, n^2, where
    a matrix is at least twice as long as wide, else n (in + out). A badly conditioned long matrix keeps both."""
    if method.peft_type not in ("SVFT", "VECTORFIT") or method.modules is None:
        return 0
    chosen = ((one.copies, *sorted(one.shape)) for one in adapted_matrices(model, method.modules))
    return sum(copies * (n * n if long >= 2 * n else n * (n + long)) for copies, n, long in chosen)


def _lora(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    return int(adapter["r"]) * (inputs + outputs) + (outputs if adapter.get("use_dora") else 0)


def _adalora(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    return int(adapter["init_r"]) * (inputs + outputs + 1)


def _vera(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    return outputs + int(adapter["r"])


def _boft(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int | None:
    block, factors = int(adapter["boft_block_size"]), int(adapter["boft_n_butterfly_factor"])
    if not block:
        return None  # a number of blocks instead
    return factors * inputs * block + outputs + (outputs if bias and adapter["bias"] != "none" else 0)


def _svft(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    whole = adapter.get("rank") is None or adapter.get("fill_orthonormal")
    side = min(inputs, outputs, inputs if whole else adapter["rank"])
    distance, entries = int(adapter.get("off_diag", 0)), adapter.get("entries")
    if adapter.get("oversized") == "clip":
        distance, entries = min(distance, side - 1), entries and min(entries, side * side)
    gate = 1 if adapter.get("gate") or adapter.get("variant") == "released" else 0
    if adapter.get("pattern") == "dense":
        return side * side + gate
    return int(entries or side * (2 * distance + 1) - distance * (distance + 1)) + gate


def _vectorfit(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    sigma = min(inputs, outputs) if adapter.get("train_sigma", True) else 0
    return sigma + (outputs if bias and adapter.get("train_bias", True) else 0)


def _oft(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int | None:
    block = int(adapter["oft_block_size"])  # PEFT takes one that divides, near it or of a number of blocks
    return inputs * (block - 1) // 2 if block and inputs % block == 0 else None


def _c3a(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int | None:
    block = int(adapter["block_size"])
    return inputs * outputs // block if inputs % block == outputs % block == 0 else None


def _randlora(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    side, rank = min(inputs, outputs), int(adapter["r"])
    return -(-side // rank) * (rank + side)


def _tinylora(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    return int(adapter["u"])


def _psoft(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    rank = int(adapter["r"])
    turned = rank * (rank - 1) // 2 if adapter.get("psoft_orth", True) else rank * rank
    return int(turned + rank * sum(bool(adapter.get(name, True)) for name in ("psoft_mag_a", "psoft_mag_b")))


def _miss(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int | None:
    return int(adapter["r"]) * outputs if adapter.get("init_weights", True) not in ("bat", "mini") else None


def _outputs(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int:
    return outputs


def _vblora(inputs: int, outputs: int, adapter: dict[str, Any], bias: bool) -> int | None:
    length = int(adapter["vector_length"])
    parts = int(adapter["num_vectors"]) * int(adapter["r"]) * (inputs + outputs)
    return parts // length if inputs % length == outputs % length == 0 else None


def _shared(method: MethodSpec) -> int:
    """What all matrices share: VB-LoRA's bank of vectors."""
    bank = method.adapter if method.peft_type == "VBLORA" else {}
    return int(bank.get("num_vectors", 0)) * int(bank.get("vector_length", 0))


FORMULAS: dict[str, Count] = {
    "OFT": _oft,
    "C3A": _c3a,
    "RANDLORA": _randlora,
    "TINYLORA": _tinylora,
    "PSOFT": _psoft,
    "BEFT": _outputs,
    "IA3": _outputs,
    "MISS": _miss,
    "VBLORA": _vblora,
    "LORA": _lora,
    "ADALORA": _adalora,
    "VERA": _vera,
    "BOFT": _boft,
    "SVFT": _svft,
    "VECTORFIT": _vectorfit,
}
