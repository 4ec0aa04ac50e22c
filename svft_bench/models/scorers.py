"""Models that compare pictures: CLIP, which reads as well, and DINO. `scorer("clip", NAME, device).seen(pictures)`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from svft_bench.config.home import from_home
from svft_bench.config.spec import EvalSpec
from svft_bench.models.hub import commit_of, explain, refuse_a_folder_in_the_way

FILES = ("*.json", "*.txt", "model.safetensors", "pytorch_model.bin")


class Scorer:
    """A frozen model; what it says of a picture or a text is a row of length 1."""

    def __init__(self, folder: Path, *, reads: bool, device: torch.device) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        self.model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        self.pixels: Any = (CLIPImageProcessorPil if reads else ViTImageProcessorPil).from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder) if reads else None

    def seen(self, pictures: Sequence[Any]) -> Tensor:
        """(pictures, width): CLIP's projection, or of a vision transformer its first token."""
        inputs = self.pixels(list(pictures), return_tensors="pt").to(self.model.device)
        with torch.no_grad():
            if self.tokenizer is not None:
                return functional.normalize(self.model.get_image_features(**inputs).pooler_output, dim=-1)
            return functional.normalize(self.model(**inputs).last_hidden_state[:, 0], dim=-1)

    def read(self, texts: Sequence[str]) -> Tensor:
        """(texts, width): CLIP's projection; a text that is longer than its context is cut."""
        inputs = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        with torch.no_grad():
            return functional.normalize(self.model.get_text_features(**inputs).pooler_output, dim=-1)


@lru_cache(maxsize=4)
def scorer(kind: str, name: str, device: torch.device) -> Scorer:
    """The model of this name, loaded once a process.

    Raises:
        ValueError: it cannot be had, or is no such model.
    """
    folder = scorer_folder(name)
    try:
        return Scorer(folder, reads=kind == "clip", device=device)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as error:
        raise ValueError(f"{kind}={name} cannot be read ({str(error).splitlines()[0]})") from error


def check_scorers(evals: Sequence[EvalSpec]) -> None:
    """Refuse an eval that compares by models which are not at hand, before anything loads.

    Raises:
        ValueError: names the eval, the model, why it cannot be had, and what needs none.
    """
    for item in evals:
        needed = item.drawing.needed(item.metrics) if item.drawing is not None else {}
        for kind, name in needed.items():
            try:
                scorer_folder(str(name))
            except ValueError as error:
                raise ValueError(
                    f"eval {item.name} compares pictures by {kind}={name}: {error}; "
                    f"task.evals.{item.name}.metrics=[colours] needs no model"
                ) from error


def scorer_folder(name: str) -> Path:
    """The folder of a model that is named by its folder, or by its place on the hub and perhaps a commit.

    Raises:
        ValueError: it cannot be had.
    """
    if (folder := from_home(name)).is_dir():
        return folder
    from huggingface_hub import snapshot_download

    repo, _, commit = name.partition("@")
    refuse_a_folder_in_the_way(repo, field="drawing", meant=f"./{repo}")
    revision = commit_of(repo, kind="model", revision=commit or None)
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[*FILES]))
    except Exception as error:  # of the library, of httpx and of the system
        raise ValueError(explain(error, repo=repo, kind="model", revision=revision)) from error
