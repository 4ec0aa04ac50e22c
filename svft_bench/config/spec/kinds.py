"""The kinds of task, each a row: what its tasks need and its rows are read by, what goes into its model and comes out.

Whatever asks for a kind asks for a field of its row, `KINDS[task.kind].head`, and for no name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "image_classification",
    "sequence_classification",
    "question_answering",
    "causal_lm",
    "seq2seq_lm",
    "text_to_image",
]
ReaderName = Literal[
    "image_label",
    "img_label",
    "img_fine_label",
    "sentence",
    "sentence_pair",
    "question_sentence",
    "question_pair",
    "premise_hypothesis",
    "squad",
    "metamath",
    "metamath_solution",
    "gsm8k",
    "gsm8k_solution",
    "math",
    "math_solution",
    "llm_adapters",
    "llm_adapters_options",
    "xsum",
    "cnn_dailymail",
    "picture",
    "line",
    "columns",  # those that the task's own `columns` names
]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a task of one kind is made of.

    `needs` are the task's fields that cannot be null; `columns` are what `reader=columns` has to name, `perhaps` what
    it may. `images`: its examples are pictures, which `model.image` makes tensors of and which are all of one length.
    `head`: it is predicted by a head drawn anew, which trains in full beside an adapter. `labelled`: by one output for
    each of `task.labels`, else by `outputs`. `writes`: by texts of the model's own words, generated or weighed.
    `two_parts`: an encoder reads one text, a decoder writes another. `few_bits`: its model may be kept in 8 or 4 bits.
    `draws`: by pictures, or by the noise in them. `parts`: its model is a pipeline's, in these folders, the first of
    which is trained.
    `padding_side` is where batches are filled up unless a task says otherwise.
    """

    needs: tuple[str, ...]
    readers: tuple[ReaderName, ...]
    columns: frozenset[str]
    perhaps: frozenset[str] = frozenset()
    images: bool = False
    head: bool = False
    labelled: bool = False
    outputs: int | None = None
    writes: bool = False
    two_parts: bool = False
    few_bits: bool = False
    draws: bool = False
    parts: tuple[str, ...] = ()
    padding_side: Literal["left", "right"] | None = None


KINDS: dict[Kind, Described] = {
    "image_classification": Described(
        needs=("labels",),
        readers=("image_label", "img_label", "img_fine_label", "columns"),
        columns=frozenset({"image", "label"}),
        images=True,
        head=True,
        labelled=True,
    ),
    "sequence_classification": Described(
        needs=("labels", "max_length"),
        readers=("sentence", "sentence_pair", "question_sentence", "question_pair", "premise_hypothesis", "columns"),
        columns=frozenset({"text", "label"}),
        perhaps=frozenset({"text_pair"}),
        head=True,
        labelled=True,
        padding_side="right",
    ),
    "question_answering": Described(
        needs=("max_length", "span"),
        readers=("squad", "columns"),
        columns=frozenset({"question", "context", "answers"}),
        perhaps=frozenset({"starts"}),
        head=True,
        outputs=2,  # whether an answer begins, and whether it ends, at a token
        padding_side="right",
    ),
    "causal_lm": Described(
        needs=("prompt",),
        readers=(
            "metamath",
            "metamath_solution",
            "gsm8k",
            "gsm8k_solution",
            "math",
            "math_solution",
            "llm_adapters",
            "llm_adapters_options",
            "columns",
        ),
        columns=frozenset({"reference"}),
        perhaps=frozenset({"options"}),
        writes=True,
        few_bits=True,
        padding_side="left",
    ),
    "seq2seq_lm": Described(
        needs=("max_length", "max_target_length"),
        readers=("xsum", "cnn_dailymail", "columns"),
        columns=frozenset({"text", "reference"}),
        writes=True,
        two_parts=True,
        padding_side="right",
    ),
    "text_to_image": Described(
        needs=("subject",),
        readers=("picture", "line", "columns"),
        columns=frozenset({"image"}),
        images=True,
        draws=True,
        parts=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    ),
}
