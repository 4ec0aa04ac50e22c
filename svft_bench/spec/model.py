"""The model of a run and the method that is applied to it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from svft_bench.spec.base import Kind, Spec, plain


class ImageSpec(Spec):
    """How an image becomes a tensor: resized to `size` x `size` pixels, then normalised per channel."""

    size: int = Field(gt=0)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"]
    backend: Literal["pil"]


class ModelSpec(Spec):
    """A pre-trained model: where its weights come from, how they load, what its layers are called."""

    describes = frozenset(
        {"title", "architecture", "kinds", "targets", "layers", "matrices", "biases", "parameters", "patch"}
    )

    younger = frozenset({"pad_token_from", "trust_remote_code"})

    name: str
    title: str
    architecture: str
    source: Literal["hub", "carrier"]
    path: str
    revision: str | None
    trust_remote_code: bool = False
    kinds: tuple[Kind, ...]
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: Literal["sdpa", "eager"]
    padding_side: Literal["left", "right"] | None
    pad_token: str | None
    pad_token_from: Literal["vocabulary", "added"] = "vocabulary"
    image: ImageSpec | None
    head_modules: tuple[str, ...]
    targets: dict[str, str | tuple[str, ...]]
    layers: int = Field(gt=0)
    matrices: dict[str, tuple[int, int]]
    biases: bool
    parameters: int = Field(gt=0)
    patch: int | None = None

    @model_validator(mode="after")
    def _an_added_token_has_a_name(self) -> ModelSpec:
        if self.pad_token_from == "added" and self.pad_token is None:
            raise ValueError("pad_token_from=added needs the token, for example pad_token='[PAD]'")
        return self


class MethodSpec(Spec):
    """What the papers compare; every further field belongs to the PEFT config that `peft_type` names.

    `one_shape` refuses targets whose shapes differ.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    describes = frozenset({"title", "one_shape"})

    name: str
    title: str
    one_shape: bool = False
    peft_type: str | None
    trains: Literal["adapter", "head", "all"]
    modules: str | None

    @property
    def adapter(self) -> dict[str, Any]:
        """The fields of the adapter's own config."""
        return dict(self.model_extra or {})

    def identity(self) -> dict[str, Any]:
        """As for every part, with the adapter's fields beside the declared ones."""
        return super().identity() | {key: plain(value) for key, value in self.adapter.items()}

    @model_validator(mode="after")
    def _an_adapter_has_a_type(self) -> MethodSpec:
        if (self.trains == "adapter") != (self.peft_type is not None):
            raise ValueError(f"trains={self.trains} with peft_type={self.peft_type}: only an adapter has a peft_type")
        return self
