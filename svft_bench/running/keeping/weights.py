"""The trained weights that a run keeps below its output folder, found again by every task that shares the training."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn

from svft_bench.methods.applying import load_trained, save_trained
from svft_bench.methods.scheduled import settle_ranks
from svft_bench.records import RunRecord
from svft_bench.records.durable import damage, digest, digests, sealed, set_aside, settle, sweep, unsealed, write_whole
from svft_bench.running import ranks
from svft_bench.running.keeping.folders import FITTED, TRAINED
from svft_bench.running.provenance import package_state
from svft_bench.running.training.precision import answer_as_trained
from svft_bench.running.training.train import Trained
from svft_bench.tuners.card import README

PACKAGE = Path(__file__).parents[2]
ADAPTER = "adapter/adapter_model.safetensors"
AGAIN = "the training begins again"


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
    beside: str | None = None,
) -> Fitted:
    """Write the trained parameters, for an adapter also PEFT's own folder `adapter`, and drop the checkpoints.

    `beside` is of what stands beside the base's weights, where the training's name does not tell.
    """
    (folder / FITTED).unlink(missing_ok=True)  # it would speak of other weights
    shipped = folder / TRAINED
    save_trained(model, names, parameters=shipped, adapter=folder / ADAPTER)
    if isinstance(model, PeftModel):
        shipped = folder / ADAPTER
        sweep(shipped.parent, older_than=0)  # what a kill left, as nobody else writes there now
        settle_ranks(model)
        with warnings.catch_warnings():  # a matrix may have no rank left
            warnings.filterwarnings("ignore", message=".*LoRA tensor.* have invalid shape")
            model.save_pretrained(shipped.parent, save_embedding_layers=False)  # no method trains them
        settle(shipped.parent)
    # Without the card, which a run writes anew when it has been scored.
    kept = {name: value for name, value in digests(folder / "adapter").items() if name != README}
    adapter = {f"adapter/{name}": value for name, value in kept.items()}
    fitted = Fitted(
        **asdict(trained),
        selected=selected,
        peak_bytes=peak_bytes,
        checkpoint_bytes=shipped.stat().st_size,
        code=code_state(beside),
    )
    body = {"training": folder.name, "files": {TRAINED: digest(folder / TRAINED)} | adapter}
    write_whole(folder / FITTED, sealed(asdict(fitted) | body))
    _drop_unfinished(folder)
    return fitted


def take_up(folder: Path, model: nn.Module, *, bf16: bool, beside: str | None = None) -> Fitted | None:
    """Let every process have the weights of an earlier training, and answer in its precision; None without any.

    Raises:
        ValueError: as `load_fitted`.
    """
    fitted = ranks.lead(lambda: load_fitted(folder, model, beside=beside))
    if fitted is None:
        return None
    if not ranks.leads():
        load_trained(model, parameters=folder / TRAINED, adapter=folder / ADAPTER)
    answer_as_trained(model, bf16=bf16 and fitted.steps > 0)
    return fitted


def load_fitted(folder: Path, model: nn.Module, *, beside: str | None = None) -> Fitted | None:
    """Put an earlier training's weights into `model`; None where there are none, or of another training or other code.

    Raises:
        ValueError: the adapter was trained in another singular basis, so the base's weights are no longer the same.
    """
    fields = _readable(folder)
    if fields is None:
        return None
    if fields["code"] != code_state(beside):
        what = "other code, other package versions or another configuration of the model"
        warnings.warn(f"{folder / FITTED} is of {what}; {AGAIN}.", stacklevel=2)
        return None
    if (training := fields.pop("training", folder.name)) != folder.name:
        warnings.warn(f"{folder / FITTED} is of training {training}; {AGAIN}.", stacklevel=2)
        return None
    load_trained(model, parameters=folder / TRAINED, adapter=folder / ADAPTER)
    _drop_unfinished(folder)
    return Fitted(**fields)


def load_kept(folder: Path, model: nn.Module, *, record: RunRecord) -> None:
    """Put the weights that a run was scored with into `model`, whatever code made them.

    Raises:
        ValueError: as `check_kept` does; or the adapter was trained in another singular basis.
    """
    check_kept(folder, record=record)
    load_trained(model, parameters=folder / TRAINED, adapter=folder / ADAPTER)


def check_kept(folder: Path, *, record: RunRecord) -> None:
    """Refuse a folder that does not hold the weights that a run was scored with.

    They are known by what their training left in both, its seconds among it, which no second training repeats.

    Raises:
        ValueError: there are none, or they are damaged or of another training.
    """
    fields = _readable(folder)
    if fields is None:
        raise ValueError(f"{folder} holds no weights of a finished training; the run's command makes them again")
    if (training := fields.get("training", folder.name)) != folder.name:
        raise ValueError(f"{folder} holds the weights of training {training}, which was moved there")
    scored = [record.costs.steps, record.costs.train_seconds, [[*point] for point in record.curve]]
    if [fields.get(name) for name in ("steps", "seconds", "curve")] != scored:
        raise ValueError(
            f"{folder} holds the weights of a later training, not those that run {record.run_id} was scored with; its "
            "command with force=true makes both anew"
        )


def _drop_unfinished(folder: Path) -> None:
    """Remove what a finished training needs no more; a kill may have come before it was done."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "best.safetensors").unlink(missing_ok=True)


def _readable(folder: Path) -> dict[str, Any] | None:
    """The fields of a training's result, every file of which is as it was written; what is not is set aside."""
    file = folder / FITTED
    if not file.exists():
        return None
    try:
        fields = unsealed(file)
    except ValueError as error:
        set_aside(file, why=str(error), then=AGAIN)
        return None
    if found := damage(folder, fields.pop("files")):
        file.unlink()
        set_aside(found[0], why=found[1], then=AGAIN, into=folder)
        return None
    return fields


def code_state(beside: str | None = None) -> str:
    """The code and the packages that decide what training gives; weights and checkpoints of any other are not used.

    What `conf` decides is in the training's own name, and `beside` is what stands beside the weights of a folder.
    """
    tree, dirty = package_state()
    packages = [f"{name} {version(name)}" for name in ("svft-bench", "torch", "transformers", "peft", "accelerate")]
    sources = f"sources {_sources()}" if tree is None or dirty else tree
    return " ".join([*packages, sources, *([] if beside is None else [f"beside {beside}"])])


@cache
def _sources() -> str:
    """A digest of the package's own code, for where no commit names it."""
    files = sorted(PACKAGE.rglob("*.py"))
    text = b"".join(f"{file.relative_to(PACKAGE)}\n".encode() + file.read_bytes() for file in files)
    return hashlib.sha256(text).hexdigest()
