"""A stand-in for the package vllm: the names and parameters of its version 0.30, decoding by transformers instead.

It proves what is handed to vLLM and what is made of its answers: the folder, the tokens, the limits, the ends, the
order. It cannot prove that vLLM takes them, loads the weights, or finds the same tokens: nothing here runs vLLM.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


@dataclass(kw_only=True)
class SamplingParams:
    """Those fields of the real ones that are used here."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    repetition_penalty: float = 1.0


class LLM:
    """Loads the folder at once, as vLLM does, and remembers every call."""

    made: ClassVar[list[LLM]] = []

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        seed: int = 0,
        max_model_len: int | None = None,
        gpu_memory_utilization: float = 0.92,
        generation_config: str = "auto",
    ) -> None:
        self.given = {"dtype": dtype, "seed": seed, "max_model_len": max_model_len, "memory": gpu_memory_utilization}
        assert generation_config == "vllm"  # which leaves sampling to its parameters
        self.folder = Path(model)
        self.calls: list[tuple[Any, Any]] = []
        self.closed = False
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.weights = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shutdown))
        self.made.append(self)

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def generate(self, prompts: Any, sampling_params: Any = None, *, use_tqdm: bool = True) -> list[Any]:
        self.calls.append((prompts, sampling_params))
        rows = [self._greedy(p["prompt_token_ids"], params) for p, params in zip(prompts, sampling_params, strict=True)]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(row))]) for row in rows]

    @torch.no_grad()
    def _greedy(self, ids: list[int], params: SamplingParams) -> list[int]:
        """Token by token without a cache; stops at a token or after a string, as vLLM says it does."""
        assert params.temperature == 0.0 and params.ignore_eos and params.max_tokens
        new: list[int] = []
        while len(new) < params.max_tokens:
            scores = self.weights(input_ids=torch.tensor([ids + new])).logits[0, -1]
            for seen in {*ids, *new}:
                scores[seen] *= 1 / params.repetition_penalty if scores[seen] > 0 else params.repetition_penalty
            new.append(int(scores.argmax()))
            text = self.tokenizer.decode(new, skip_special_tokens=True)
            if new[-1] in (params.stop_token_ids or ()) or any(stop in text for stop in params.stop or ()):
                break
        return new

    def _shutdown(self) -> None:
        self.closed = True


def install(monkeypatch: Any) -> list[LLM]:
    """Put the stand-in in the place of the package for one test; the list fills with the engines that it makes."""
    made: list[LLM] = []
    package = ModuleType("vllm")
    package.__spec__ = ModuleSpec("vllm", None)
    monkeypatch.setattr(LLM, "made", made)
    vars(package).update(LLM=LLM, SamplingParams=SamplingParams)
    monkeypatch.setitem(sys.modules, "vllm", package)
    return made
