"""JSON that somebody else wrote, or a kill left: any text gives a value or one kind of error."""

from __future__ import annotations

import json
from typing import Any


def decoded(text: str | bytes, **options: Any) -> Any:
    r"""The value of a JSON text, with the `options` of `json.loads`.

    Raises:
        ValueError: it is no JSON, is nested deeper than Python goes, or has half a character (`\ud800`), which no file
            takes.
    """
    try:
        found = json.loads(text, **options)
        if (b"\\ud" if isinstance(text, bytes) else "\\ud") in text.lower():  # type: ignore[operator]
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None
    except UnicodeEncodeError as error:
        raise json.JSONDecodeError(f"half a character, {error.object[error.start]!a},", "", 0) from None
    return found
