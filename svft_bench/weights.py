"""The trained weights that a run keeps below its output folder, found again by every task that shares the training."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from svft_bench.durable import write_whole
from svft_bench.methods import load_trained_state, trained_state
from svft_bench.provenance import package_state
from svft_bench.train import Trained


@dataclass(frozen=True)
class Fitted(Trained):
    """Training and what it left in a folder; `checkpoint_bytes` is the file that has to be shipped."""

    selected: dict[str, float | int | str]
    peak_bytes: int
    checkpoint_bytes: int
    code: str


def save_fitted(
    folder: Path,
    model: nn.Module,
    *,
    names: frozenset[str],
    trained: Trained,
    selected: dict[str, float | int | str],
    peak_bytes: int,
) -> Fitted:
    """Write the trained parameters, for an adapter also PEFT's own folder `adapter`, and drop the checkpoints."""
    weights = folder / "trained.safetensors"
    partial = weights.with_suffix(".partial")
    save_file(trained_state(model, names), partial)
    partial.replace(weights)
    shipped = weights
    if isinstance(model, PeftModel):
        model.save_pretrained(folder / "adapter", save_embedding_layers=False)  # no method trains them
        shipped = folder / "adapter" / "adapter_model.safetensors"
    fitted = Fitted(
        **asdict(trained),
        selected=selected,
        peak_bytes=peak_bytes,
        checkpoint_bytes=shipped.stat().st_size,
        code=_code(),
    )
    write_whole(folder / "fitted.json", json.dumps(asdict(fitted)))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "best.safetensors").unlink(missing_ok=True)
    return fitted


def load_fitted(folder: Path, model: nn.Module) -> Fitted | None:
    """Put an earlier training's weights into `model`; None where there are none, or other code made them.

    Raises:
        ValueError: the adapter was trained in another singular basis, so the base's weights are no longer the same.
    """
    file = folder / "fitted.json"
    if not file.exists():
        return None
    fields = json.loads(file.read_text(encoding="utf-8"))
    if fields["code"] != _code() or fields["code"].endswith("dirty"):
        return None
    if isinstance(model, PeftModel):  # the pattern and the fingerprint of an adapter are no trained parameters
        set_peft_model_state_dict(model, load_file(folder / "adapter" / "adapter_model.safetensors"))
    load_trained_state(model, load_file(folder / "trained.safetensors"))
    return Fitted(**fields)


def _code() -> str:
    """The code and the packages that decide what training gives; a changed working tree is never trusted.

    What `conf` decides is in the training's own name.
    """
    tree, dirty = package_state()
    packages = [f"{name} {version(name)}" for name in ("svft-bench", "torch", "transformers", "peft")]
    return " ".join([*packages, tree or "", "dirty" if dirty else "clean"])
