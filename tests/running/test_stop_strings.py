"""A text ends at the first stop string, after as many steps as the library's own criterion takes."""

from __future__ import annotations

import pytest

from svft_bench.config.spec import GenerationSpec
from svft_bench.running.predicting.decoding import generate
from tests.running.test_evaluation import PROMPTS, Loaded
from tests.running.test_evaluation import tiny as tiny


@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_stops_where_the_librarys_own_stop_strings_end_it(tiny: Loaded, beams: int) -> None:
    model, processor = tiny
    asked = {"return_tensors": "pt", "padding": True, "padding_side": "left"}
    read = processor(PROMPTS[:4], **asked)
    begin = read["input_ids"].shape[1]
    plain = {"max_new_tokens": 12, "num_beams": beams, "do_sample": False, "pad_token_id": processor.pad_token_id}
    free = processor.batch_decode(model.generate(**read, **plain)[:, begin:], skip_special_tokens=True)
    pairs = [text[i : i + 2] for text in free for i in range(2, len(text) - 1)]
    stops = tuple(pair for pair in pairs if pair.isascii())[:3]  # bytes that are no character come out as another
    expected = model.generate(**read, **plain, stop_strings=list(stops), tokenizer=processor)[:, begin:].tolist()
    steps: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda layer, args, out: steps.append(1))
    generation = GenerationSpec(max_new_tokens=12, num_beams=beams, stop=stops)
    found = generate(model, PROMPTS[:4], generation=generation, processor=processor)
    hook.remove()
    texts = processor.batch_decode(expected, skip_special_tokens=True)
    cut = [min([text.find(stop) for stop in stops if stop in text], default=len(text)) for text in texts]
    assert stops and [row["prediction"] for row in found] == [text[:at] for text, at in zip(texts, cut, strict=True)]
    assert len(steps) == len(expected[0])
