"""The model of a run and the method that is applied to it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from svft_bench.config.spec.base import Count, Name, Spec, Text, plain
from svft_bench.config.spec.kinds import KINDS, Kind

IMPORTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(@[0-9a-f]{12})?")
Module = Annotated[str, Field(min_length=1)]  # the end of its name, or an expression of it
Spread = Annotated[StrictFloat, Field(gt=0)]


class ImageSpec(Spec):
    """How an image becomes a tensor: resized to `size` x `size` pixels, then normalised per channel."""

    size: StrictInt = Field(gt=0, le=4096)
    mean: tuple[StrictFloat, StrictFloat, StrictFloat]
    std: tuple[Spread, Spread, Spread]
    resample: Literal["bicubic", "bilinear"]
    backend: Literal["pil"]


class StageSpec(Spec):
    """Blocks of one form: how many there are, and [in, out] of each of their matrices by its letter."""

    layers: Count
    matrices: dict[str, tuple[Count, Count]]


class ModelSpec(Spec):
    """A pre-trained model: where its weights come from, how they load, what its layers are called.

    `head_modules` train anew for the first of its `kinds`, and those of `heads` for the others that have a head.

    Where blocks differ, `stages` has their forms, and `matrices` those of the widest. `biases` says whether the
    matrices have biases, or the letters of those that do. `groups` says which matrices a name of `targets` stands for
    where their letters do not spell it.

    `load_in` keeps the linear layers of a language model in 8 bits (LLM.int8) or 4 (NF4), by bitsandbytes.
    """

    describes = frozenset(
        {"title", "architecture", "kinds", "heads", "targets", "groups", "layers", "matrices", "stages", "biases"}
        | {"parameters", "patch"}
    )

    younger = frozenset({"normaliser", "pad_token_from", "trust_remote_code", "load_in"})

    name: Name
    title: Text
    architecture: Text
    source: Literal["hub", "carrier"]
    path: Annotated[Text, Field(min_length=1)]
    revision: Annotated[Text, Field(min_length=1)] | None
    trust_remote_code: StrictBool = False
    kinds: tuple[Kind, ...]
    dtype: Literal["float32", "bfloat16", "float16"]
    load_in: Literal["8bit", "4bit"] | None = None
    attention: Literal["sdpa", "eager"]
    padding_side: Literal["left", "right"] | None
    pad_token: str | None
    pad_token_from: Literal["vocabulary", "added"] = "vocabulary"
    normaliser: Literal["model", "library"] = "model"
    image: ImageSpec | None
    head_modules: tuple[Module, ...]
    heads: dict[Kind, tuple[Module, ...]] = Field(default={})
    targets: dict[str, Module | Annotated[tuple[Module, ...], Field(min_length=1)]]
    groups: dict[str, tuple[str, ...]] = Field(default={})
    layers: Count
    matrices: dict[str, tuple[Count, Count]]
    stages: tuple[StageSpec, ...] = ()
    biases: StrictBool | tuple[str, ...]
    parameters: StrictInt = Field(gt=0)
    patch: Count | None = None

    def head_of(self, kind: Kind) -> tuple[str, ...]:
        """The modules that a task of this kind draws anew and trains in full; a language model has none of its own."""
        return self.heads.get(kind, self.head_modules) if KINDS[kind].head else ()

    @property
    def forms(self) -> tuple[StageSpec, ...]:
        """Every form of its blocks."""
        return self.stages or (StageSpec(layers=self.layers, matrices=self.matrices),)

    @property
    def stem(self) -> dict[str, tuple[int, int]]:
        """[in, out] of what stands once before the blocks: a patch embedding, where `targets` names one."""
        if self.patch is None or "patch" not in self.targets:
            return {}
        width, _ = next(iter(self.matrices.values()))
        return {"patch": (3 * self.patch**2, width)}

    def has_bias(self, letters: str) -> bool:
        """Whether these matrices have a bias."""
        return self.biases if isinstance(self.biases, bool) else letters in self.biases

    @model_validator(mode="after")
    def _stages_and_biases_are_of_its_matrices(self) -> ModelSpec:
        named = {"biases": () if isinstance(self.biases, bool) else self.biases}
        named["stages"] = tuple(letters for stage in self.stages for letters in stage.matrices)
        named["groups"] = tuple(letters for group in self.groups.values() for letters in group)
        for field, letters in named.items():
            if unknown := sorted({*letters} - self.matrices.keys()):
                raise ValueError(f"{field} has {', '.join(unknown)}; matrices has {', '.join(self.matrices)}")
        return self

    @model_validator(mode="after")
    def _an_image_is_whole_patches(self) -> ModelSpec:
        if self.image and self.patch and self.image.size % self.patch:
            raise ValueError(f"image.size={self.image.size} is no multiple of the patch size {self.patch}")
        return self

    @model_validator(mode="after")
    def _a_carrier_has_one_version(self) -> ModelSpec:
        if self.source == "carrier" and self.revision is not None:
            raise ValueError(f"revision={self.revision}: source=carrier is one package of one version, so null")
        return self

    @model_validator(mode="after")
    def _an_added_token_has_a_name(self) -> ModelSpec:
        if self.pad_token_from == "added" and self.pad_token is None:
            raise ValueError("pad_token_from=added needs the token, for example pad_token='[PAD]'")
        return self


class MethodSpec(Spec):
    """What the papers compare; every further field belongs to the PEFT config that `peft_type` names.

    `one_shape` refuses targets whose shapes differ. `import` names a module of the user's own, which registers the
    tuner with PEFT when it is imported.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    describes = frozenset({"title", "one_shape"})

    name: Name
    title: Text
    one_shape: StrictBool = False
    peft_type: str | None
    trains: Literal["adapter", "head", "all"]
    modules: str | None

    @property
    def adapter(self) -> dict[str, Any]:
        """The fields of the adapter's own config."""
        return {name: value for name, value in (self.model_extra or {}).items() if name != "import"}

    @property
    def imported(self) -> str | None:
        """The module that registers the method's tuner with PEFT, once composed with `@` and its file's digest."""
        return (self.model_extra or {}).get("import")

    def identity(self) -> dict[str, Any]:
        """As for every part, with the adapter's fields beside the declared ones."""
        return super().identity() | {key: plain(value) for key, value in (self.model_extra or {}).items()}

    @model_validator(mode="after")
    def _an_adapter_has_a_type(self) -> MethodSpec:
        if (self.trains == "adapter") != (self.peft_type is not None):
            raise ValueError(f"trains={self.trains} with peft_type={self.peft_type}: only an adapter has a peft_type")
        if self.imported is not None and not IMPORTED.fullmatch(str(self.imported)):
            raise ValueError(f"import={self.imported!r} is no name of a module, such as my_package.my_tuner")
        if self.peft_type is None and (self.adapter or self.imported):
            raise ValueError(
                f"{', '.join(self.model_extra or {})}: a field of an adapter, and method={self.name} has none"
            )
        return self
