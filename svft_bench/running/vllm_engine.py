"""Decoding by vLLM in place of transformers: the merged weights in a folder, and an engine that reads them.

`with engine_of(spec, model, processor, folder=FOLDER) as engine: generate(model, prompts, ..., engine=engine)`
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from svft_bench.config.spec import GenerationSpec, ModelSpec, RunSpec
from svft_bench.models.loading import read_config
from svft_bench.running.decoding import Engine, Tokens

AT_A_TIME = 400  # prompts handed over together; the engine batches them itself


def check_engine(spec: ModelSpec, *, device: torch.device) -> None:
    """Refuse vLLM where it cannot run, before anything loads.

    Raises:
        ValueError: the package or a CUDA device is missing, or the base weights are quantised.
    """
    other = "eval.backend=transformers runs here"
    if find_spec("vllm") is None:
        raise ValueError(f"eval.backend=vllm: the package vllm is not installed (pip install vllm); {other}")
    if device.type != "cuda":
        raise ValueError(f"eval.backend=vllm needs a CUDA device, this run is on {device.type}; {other}")
    if getattr(read_config(spec), "quantization_config", None) is not None:
        raise ValueError(f"eval.backend=vllm reads merged weights, those of model={spec.name} are quantised; {other}")


@contextmanager
def engine_of(spec: RunSpec, model: Any, processor: Any, *, folder: Path) -> Iterator[Engine | None]:
    """What writes in place of `model` while this lasts: nothing, or vLLM; of the model the configuration remains then.

    The merged weights stand in a folder of their own inside `folder` meanwhile.
    """
    if spec.eval.backend == "transformers":
        yield None
        return
    from vllm import LLM

    beams = max(item.generation.num_beams for item in spec.task.evals if item.generation is not None)
    with tempfile.TemporaryDirectory(dir=folder, prefix="merged-") as merged:
        _move(model, processor, Path(merged))
        llm = LLM(
            model=merged,
            dtype=spec.model.dtype,
            seed=spec.seed,
            max_model_len=model.config.max_position_embeddings,
            max_logprobs=2 * beams,  # of each beam, its search looks at the likeliest twice as many tokens
        )
        try:
            yield VllmEngine(llm)
        finally:
            llm.llm_engine.engine_core.shutdown()


@dataclass(frozen=True)
class VllmEngine:
    """`decoding.Engine` by vLLM's offline class."""

    llm: Any

    def write(
        self, prompts: Sequence[Tokens], *, limits: Sequence[int], ends: Sequence[int], generation: GenerationSpec
    ) -> list[Tokens]:
        """The tokens after each prompt.

        Raises:
            ValueError: a beam search would have to end at other tokens than the tokenizer's.
        """
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        if generation.num_beams == 1:
            return self._greedy(asked, limits=limits, ends=ends, stop=generation.stop)
        eos = self.llm.get_tokenizer().eos_token_id
        if set(ends) - {eos}:
            raise ValueError(
                f"eval.backend=vllm: its beam search ends texts at token {eos}, this model at {sorted(ends)}; "
                "eval.backend=transformers scores the same trained weights"
            )
        return self._beams(asked, limits=limits, width=generation.num_beams, endless=not ends)

    def _greedy(
        self, asked: list[dict[str, Tokens]], *, limits: Sequence[int], ends: Sequence[int], stop: Sequence[str]
    ) -> list[Tokens]:
        from vllm import SamplingParams

        # ends are the model's own alone, as for transformers
        params = [
            SamplingParams(temperature=0.0, max_tokens=n, stop=list(stop), stop_token_ids=list(ends), ignore_eos=True)
            for n in limits
        ]
        return [list(found.outputs[0].token_ids) for found in self.llm.generate(asked, params, use_tqdm=False)]

    def _beams(
        self, asked: list[dict[str, Tokens]], *, limits: Sequence[int], width: int, endless: bool
    ) -> list[Tokens]:
        from vllm.sampling_params import BeamSearchParams

        rows: dict[int, Tokens] = {}
        for limit in sorted(set(limits)):  # one for all prompts of a call
            chosen = [index for index, own in enumerate(limits) if own == limit]
            params = BeamSearchParams(beam_width=width, max_tokens=limit, ignore_eos=endless)
            for index, found in zip(chosen, self.llm.beam_search([asked[i] for i in chosen], params), strict=True):
                rows[index] = _best(found.sequences, prompt=len(asked[index]["prompt_token_ids"]))
        return [rows[index] for index in range(len(asked))]


def _best(sequences: Sequence[Any], *, prompt: int) -> Tokens:
    """The new tokens of the sequence likeliest per new token, as in transformers; vLLM's order counts all tokens."""
    best = max(sequences, key=lambda found: found.cum_logprob / max(len(found.tokens) - prompt, 1))
    return list(best.tokens[prompt:])


def _move(model: Any, processor: Any, folder: Path) -> None:
    """Write the weights, adapter included, into `folder`, and give back the memory that they take here."""
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.save_pretrained(folder)
    processor.save_pretrained(folder)
    model.to("meta")
    gc.collect()
    torch.cuda.empty_cache()
