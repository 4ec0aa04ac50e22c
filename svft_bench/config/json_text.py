"""JSON that somebody else wrote, or a kill left: any text gives a value or one kind of error."""

from __future__ import annotations

import json
import re
from typing import Any

# Half a character, as JSON writes what lies beyond 16 bits in two.
HALVES: dict[type, re.Pattern[Any]] = {str: re.compile(r"\\u[dD][89a-fA-F]"), bytes: re.compile(rb"\\u[dD][89a-fA-F]")}


def decoded(text: str | bytes, **options: Any) -> Any:
    r"""The value of a JSON text, with the `options` of `json.loads`.

    Raises:
        ValueError: it is no JSON, is nested deeper than Python goes, or has half a character (`\ud800`), which no file
            takes.
    """
    try:
        found = json.loads(text, **options)
        if HALVES[type(text)].search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None
    except UnicodeEncodeError as error:
        raise json.JSONDecodeError(f"half a character, {error.object[error.start]!a},", "", 0) from None
    return found
