"""Questions whose answers are spans of a context: SQuAD's rows on the hub, its official files, columns of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svft_bench.tasks.metrics.answering import normalised

Row = dict[str, Any]
Fields = dict[str, Any]


def official_rows(articles: Sequence[Any]) -> Iterator[Row]:
    """The rows of the hub from `data` of an official file: articles of paragraphs of questions.

    Raises:
        KeyError, TypeError: it is laid out in another way.
    """
    for article in articles:
        if "paragraphs" not in article:  # rows as they are on the hub
            yield article
            continue
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                answers = [] if asked.get("is_impossible") else asked["answers"]
                yield {
                    "id": asked["id"],
                    "title": article.get("title", ""),
                    "context": paragraph["context"],
                    "question": asked["question"],
                    "answers": {name: [one[name] for one in answers] for name in ("text", "answer_start")},
                }


def asked(question: Any, context: Any, answers: Any, starts: Any = None) -> Fields:
    """A reader's fields; `starts` are where the answers begin in the context, -1 for one that is nowhere in it.

    Answers are a text, a list of texts, the hub's {"text": ..., "answer_start": ...} or a list of such, or nothing.

    Raises:
        TypeError: something else.
    """
    if not isinstance(question, str) or not isinstance(context, str):
        raise TypeError
    texts, places = _answers(answers, starts)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(place, int) for place in places):
        raise TypeError
    places = places or [context.find(text) for text in texts]
    if len(places) != len(texts):
        raise TypeError
    found = [
        place if context[place : place + len(text)] == text and place >= 0 else -1
        for text, place in zip(texts, places, strict=True)
    ]
    return {"question": question.lstrip(), "context": context, "answers": texts, "starts": found}


def _answers(answers: Any, starts: Any) -> tuple[list[Any], list[Any]]:
    if answers is None or answers == "":
        return [], []
    if isinstance(answers, Mapping):
        return _list(answers.get("text")), _list(answers.get("answer_start", []))
    listed = _list(answers)
    if listed and isinstance(listed[0], Mapping):
        return [one.get("text") for one in listed], [one["answer_start"] for one in listed if "answer_start" in one]
    return listed, [] if starts is None else _list(starts)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def golds(fields: Fields, *, no_answer: bool) -> list[str]:
    """What predictions are compared with; where there may be no answer, SQuAD 2.0 drops a gold of articles alone."""
    answers: list[str] = fields["answers"]
    return [text for text in answers if normalised(text)] if no_answer else answers
