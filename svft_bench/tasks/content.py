"""`content(rows)`: a fingerprint of rows that a library keeps in a cache, the same however the cache is laid out.

Values are hashed in the order of the rows and of the columns' names, never the buffers that hold them: neither the
cuts between files and chunks nor unused bytes count. Images count by their encoded bytes, not by their file's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash

BLOCK = 1024  # rows that are hashed at a time


def content(rows: Any) -> str:
    """XXH3 (128 bits) of all values of a `datasets.Dataset`: quick enough for gigabytes of images at every start."""
    total = xxhash.xxh3_128()
    table = rows.with_format("arrow")
    for start in range(0, len(rows), BLOCK):
        block = table[start : start + BLOCK]
        for name in sorted(block.column_names):
            total.update(f"{name} {block.num_rows}\n".encode())
            _add(block.column(name).combine_chunks(), total)
    return total.hexdigest()


def _add(array: Any, total: Any) -> None:
    """The values of one Arrow array, after which of them are missing."""
    import pyarrow.compute as compute
    from pyarrow import types

    kind = array.type
    if array.null_count:
        total.update(compute.is_valid(array).to_numpy(zero_copy_only=False).tobytes())
    if types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}:
        _add_files(array, total)
    elif types.is_struct(kind):
        for name, values in sorted(
            zip((field.name for field in kind), array.flatten(), strict=True), key=lambda pair: pair[0]
        ):
            total.update(name.encode())
            _add(values, total)
    elif types.is_list(kind) or types.is_large_list(kind):
        _add_numbers(compute.list_value_length(array), total)
        _add(array.flatten(), total)
    elif types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind):
        _add_numbers(compute.binary_length(array), total)
        _add_bytes(array, total)
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        _add_numbers(array, total)
    else:
        total.update(json.dumps(array.to_pylist(), default=str).encode())


def _add_files(array: Any, total: Any) -> None:
    """Encoded files, of which those that the cache holds apart are read."""
    parts = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    inside, paths = parts["bytes"], parts["path"]
    if not inside.null_count:
        return _add(inside, total)
    for held, path in zip(inside, paths, strict=True):
        data = held.as_py() if held.is_valid else Path(path.as_py()).read_bytes() if path.is_valid else b""
        total.update(f"{len(data)}\n".encode())
        total.update(data)
    return None


def _add_numbers(array: Any, total: Any) -> None:
    import pyarrow.compute as compute

    filled = compute.fill_null(array, False if str(array.type) == "bool" else 0)
    values = filled.to_numpy(zero_copy_only=False)
    total.update(values.astype({"i": "<i8", "u": "<u8", "f": "<f8", "b": "?"}[values.dtype.kind]).tobytes())


def _add_bytes(array: Any, total: Any) -> None:
    """The bytes of all texts, one after the other; of a missing one there are none that count."""
    import numpy as np
    from pyarrow import types

    if array.null_count:
        array = array.drop_null()
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return
    wide = types.is_large_string(array.type) or types.is_large_binary(array.type)
    ends = np.frombuffer(offsets, dtype="<i8" if wide else "<i4")[array.offset : array.offset + len(array) + 1]
    total.update(memoryview(data)[int(ends[0]) : int(ends[-1])])
