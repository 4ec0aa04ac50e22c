"""The part of a saved adapter's README.md that says what it is and how it loads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import ModelCard
from peft import PeftModel
from peft.config import PeftConfig
from torch import nn

README, PLACE = "README.md", re.compile(r"<!-- how to load -->.*?<!-- end -->\n*", re.S)
# A folder of the hub's cache: the repository and the commit are in its name.
SNAPSHOT = re.compile(r"models--(?P<name>.+?)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
# Fields that say where or how, not what.
ASIDE = {"path", "memory_budget", "svd_precision", "inference_mode", "total_step"}


@dataclass(frozen=True)
class Card:
    """What a card says: facts in the rows of a table, and the lines of Python that load the adapter."""

    rows: dict[str, str]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Base:
    """The model below an adapter: the class that loads it, and what that takes beside the name."""

    name: str | None = None
    cls: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def call(self) -> str:
        """The expression that loads it."""
        if self.name is None or self.cls is None:
            return "...  # the model that it was trained on"
        told = "".join(f", {name}={value!r}".replace("'", '"') for name, value in self.options.items())
        return f'transformers.{self.cls}.from_pretrained("{self.name}"{told})'


def hub_name(path: str | None) -> tuple[str | None, str | None]:
    """The repository and the commit where `path` is a folder of the hub's cache on this machine, else `path` itself."""
    found = SNAPSHOT.search((path or "").replace("\\", "/"))
    return (found["name"].replace("--", "/", 1), found["commit"]) if found else (path, None)


def name_base(config: PeftConfig) -> None:
    """Let a config name a base from the hub's cache as the hub does, with its commit."""
    name, commit = hub_name(config.base_model_name_or_path)
    if commit is not None:
        config.base_model_name_or_path, config.revision = name, config.revision or commit


def base_of(model: nn.Module, config: PeftConfig) -> Base:
    """The base of an adapted model, or of one into which adapters were injected."""
    model = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(model, transformers.PreTrainedModel):
        return Base()
    name, commit = hub_name(config.base_model_name_or_path or model.name_or_path or None)
    cls: str | None = (own := type(model).__name__.removeprefix("FSDP"))  # which `fully_shard` puts before it
    options: dict[str, Any] = {"dtype": str(model.dtype).removeprefix("torch.")}
    if revision := config.revision or commit:
        options["revision"] = revision
    if "Classification" in own and model.config.num_labels != 2:
        options["num_labels"] = model.config.num_labels
    if not hasattr(transformers, own):  # its code comes with the weights
        known = {code.rpartition(".")[2]: auto for auto, code in getattr(model.config, "auto_map", {}).items()}
        cls, options = known.get(own), options | {"trust_remote_code": True}
    return Base(name, cls, options)


def describe(config: PeftConfig, base: Base, *, parameters: int | None) -> Card:
    """The card of an adapter of which nothing but itself is known."""
    method = str(getattr(config.peft_type, "value", config.peft_type))
    rows = {"method": method_of(config)}
    if parameters is not None:
        rows["trained parameters"] = f"{parameters:,}"
    if config.modules_to_save:
        rows["also trained, in full"] = ", ".join(sorted(config.modules_to_save))
    if name := base.name or hub_name(config.base_model_name_or_path)[0]:
        rows["base model"] = f"`{name}`"
    if config.task_type is not None:
        rows["kind of task"] = str(getattr(config.task_type, "value", config.task_type))
    needed = "peft, transformers" if base.cls else "peft"
    lines = (
        f"import {needed}, svft_bench.tuners  # makes {method} known to PEFT",
        f"base = {base.call}",
        'model = peft.PeftModel.from_pretrained(base, ".")  # this folder, or its name on the hub',
    )
    return Card(rows, lines)


def method_of(config: PeftConfig) -> str:
    """The adapter's method and every field that it sets of it, the targets last."""
    shared = {item.name for item in fields(PeftConfig)} | ASIDE | {"target_modules", "modules_to_save"}
    told = {
        item.name: getattr(config, item.name)
        for item in fields(config)
        if item.name not in shared and getattr(config, item.name) != _default(item)
    }
    targets = config.target_modules
    told["target_modules"] = targets if isinstance(targets, str) else ", ".join(sorted(targets or ()))
    words = ", ".join(f"{name}={value}" for name, value in told.items() if value)
    return f"{getattr(config.peft_type, 'value', config.peft_type)} ({words})"


def _default(item: Any) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def write(folder: Path, card: Card) -> None:
    """Put the card at the beginning of the folder's README.md, in the place of an earlier one.

    The library's own template, which nobody has filled in, gives way to it; what somebody wrote stays.
    """
    file = folder / README
    page = ModelCard(file.read_text(encoding="utf-8") if file.exists() else "---\nlibrary_name: peft\n---\n")
    _name_in_metadata(page.data)
    text: str = PLACE.sub("", page.text)
    if text.count("[More Information Needed]") > 10:
        text = "\n".join(re.findall(r"### Framework versions.*", text, re.S))
    page.text = f"{text_of(card)}\n{text.strip()}".rstrip() + "\n"
    page.save(file)


def _name_in_metadata(data: Any) -> None:
    """Write the base's name on the hub into the metadata; a folder of this machine, which the hub refuses, goes."""
    if isinstance(data.base_model, str):
        name = hub_name(data.base_model)[0]
        data.base_model = None if name is None or Path(name).is_absolute() else name
        tags = [tag for tag in data.tags or () if not tag.startswith("base_model:")]
        data.tags = [f"base_model:adapter:{name}", *tags] if data.base_model else tags


def text_of(card: Card) -> str:
    """The card in Markdown, between the marks by which a later one finds it."""
    rows = "\n".join(f"| {name} | {value.replace('|', '&#124;')} |" for name, value in card.rows.items())
    code = "\n".join(card.lines)
    return (
        f"<!-- how to load -->\n# {_title(card.rows)}\n\n| | |\n| --- | --- |\n{rows}\n\n"
        f"```sh\npip install svft-bench\n```\n\n```python\n{code}\n```\n<!-- end -->\n"
    )


def _title(rows: Mapping[str, str]) -> str:
    method, base = rows["method"].partition(" (")[0], rows.get("base model", "").strip("`")
    return f"{method} adapter" + (f" for {base}" if base else "")
