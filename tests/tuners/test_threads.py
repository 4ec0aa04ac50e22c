"""One model that several threads call, as a server does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from svft_bench.tuners.layer import SingularLayer
from svft_bench.tuners.renewal import Memory
from tests.tuners.cases import CASES, adapted, make_input


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns a thousand times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("name", CASES)
def test_threads_in_two_modes_get_what_one_gets(name: str, eager_threads: None) -> None:
    model = adapted(name, moved=True).eval()
    inputs = [make_input(), make_input()[:1]]
    with torch.no_grad():
        alone = [model(x) for x in inputs]

    def serve(number: int) -> list[Tensor]:
        with torch.inference_mode() if number % 2 else torch.no_grad():
            return [model(inputs[(number + turn) % 2]) for turn in range(30)]

    with ThreadPoolExecutor(4) as pool:
        served = list(pool.map(serve, range(8)))
    for number, outputs in enumerate(served):
        for turn, output in enumerate(outputs):
            torch.testing.assert_close(output, alone[(number + turn) % 2])


def test_a_weight_that_another_thread_drops_while_it_is_compared_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = adapted("svft_banded", moved=True).eval(), make_input()
    compare = Memory._are_as_they_were

    def dropped_meanwhile(memory: Memory, *args: Any) -> bool:
        for module in model.modules():
            if isinstance(module, SingularLayer):
                module._drop()
        return compare(memory, *args)

    with torch.no_grad():
        before = model(x)
        monkeypatch.setattr(Memory, "_are_as_they_were", dropped_meanwhile)
        assert all(torch.equal(model(x), before) for _ in range(3))
