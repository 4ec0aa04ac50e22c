"""Local files of one split: which they are, what rows they hold, what their content hashes to.

<data_root>/<local>/<split>.jsonl | .json | .parquet | <split>-00000-of-00001.parquet | <split>_<anything>.jsonl
or, where the folder holds nothing else, pictures: each is a row
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from svft_bench.config.json_text import decoded
from svft_bench.config.spec import SourceSpec
from svft_bench.config.wording import plural
from svft_bench.records.durable import sha256
from svft_bench.tasks.spans import official_rows

Row = dict[str, Any]
UTF_8 = "utf-8-sig"  # with or without the mark that Windows puts first


def local_files(source: SourceSpec, *, data_root: Path) -> list[Path]:
    """The files of a split: the one named as the split, else its numbered shards, else its one sample.

    Raises:
        ValueError: there is none, or several samples of it; names what the folder holds.
    """
    assert source.local is not None
    folder = data_root / source.local
    found = sorted(path for path in folder.glob(f"{source.split}*") if path.suffix in PARSERS)
    shard = re.compile(re.escape(source.split) + r"-\d{5}-of-\d{5}")
    exact = [path for path in found if path.stem == source.split]
    shards = [path for path in found if shard.fullmatch(path.stem)]
    samples = [path for path in found if path.stem.startswith(f"{source.split}_")]
    if len(exact) == 1 or (not exact and shards):
        return exact or _whole(shards, source)
    if not exact and len(samples) == 1:
        return samples
    if not found and (pictures := _pictures(folder)):
        return pictures
    several = exact or samples
    there = ", ".join(path.name for path in several or sorted(folder.glob("*"))) or "nothing"
    problem = "more than one file" if several else "no file"
    raise ValueError(
        f"data_root={data_root} has {problem} for split {source.split!r} of {source.title}: "
        f"{source.local}/ holds {there}, expected {source.split}.jsonl, .json or .parquet"
    )


def _whole(shards: list[Path], source: SourceSpec) -> list[Path]:
    """The shards of a split, of which none is missing.

    Raises:
        ValueError: one is, or they are of two.
    """
    totals = sorted({path.stem.rpartition("-of-")[2] for path in shards})
    wanted = [f"{source.split}-{number:05}-of-{totals[0]}" for number in range(int(totals[0]))]
    if [path.stem for path in shards] != wanted:
        there = {path.stem for path in shards}
        gone = ", ".join(name for name in wanted if name not in there)
        problem = f"lacks {gone}" if gone else f"has shards of several: {', '.join(path.name for path in shards)}"
        raise ValueError(f"split {source.split!r} of {source.title}: {source.local}/ {problem}")
    return shards


def read_file(path: Path) -> list[Row]:
    """The rows of one file; a picture is one row.

    Raises:
        ValueError: it does not parse; names the line where there is one.
    """
    return PARSERS[path.suffix](path) if path.suffix in PARSERS else [_picture(path)]


def _picture(path: Path) -> Row:
    return {"image": {"bytes": None, "path": str(path)}}


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder itself.

    Raises:
        ValueError: there is one of a form that is not read, which would be left out without a word.
    """
    found = sorted(path for path in (folder.glob("[!.]*") if folder.is_dir() else ()) if not path.is_dir())
    if unread := [path for path in found if path.suffix.lower() in UNREAD]:
        raise ValueError(
            f"{unread[0]} is of no form that is read here ({', '.join(IMAGES)}); convert it or take it out"
        )
    return [path for path in found if path.suffix.lower() in IMAGES]


def _jsonl(path: Path) -> list[Row]:
    rows = []
    try:
        with path.open(encoding=UTF_8) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append(_object(line, where=f"{path}:{number}"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    return rows


def _object(line: str, *, where: str) -> Row:
    try:
        row = decoded(line)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {getattr(error, 'msg', error)}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where} holds {type(row).__name__}, expected an object with named columns")
    return row


def _json(path: Path) -> list[Row]:
    try:
        rows = decoded(path.read_text(encoding=UTF_8))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        try:
            rows = list(official_rows(rows["data"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} has data that are no articles of paragraphs of questions ({error!r})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is not one array of objects, and no official file of SQuAD")
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet as parquet
    from pyarrow.lib import ArrowException

    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from error
    return rows


def own_rows(path: Path) -> list[Row]:
    """The rows of a table of the user's own, the images of a folder of folders, one for each class, or of a folder.

    Raises:
        ValueError: it is not there, of no form that is read, or does not parse; names the line where there is one.
    """
    if path.is_dir():
        return [_picture(image) | {"label": image.parent.name} for image in _images(path)]
    if not path.is_file():
        raise ValueError(f"{path} is no file and no folder")
    readers = PARSERS | TABLES
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: expected {', '.join(readers)}, or a folder with a folder of images for each class")
    return readers[path.suffix.lower()](path)


def own_sha256(path: Path) -> str:
    """Hex digest of such a table, or of the names and contents of such a folder."""
    if path.is_dir():
        named = "".join(f"{image.relative_to(path).as_posix()}:{sha256(image)}\n" for image in _images(path))
        return hashlib.sha256(named.encode()).hexdigest()
    if not path.is_file():
        raise ValueError(f"{path} is no file and no folder")
    return sha256(path)


def _images(folder: Path) -> list[Path]:
    """Those in the folders of a folder, or where there are none those in itself; a hidden folder is no class.

    Raises:
        ValueError: there are none, or some lie deeper, of which it is not said of which class they are.
    """
    classes = _folders(folder)
    found = sorted(image for one in classes for image in _pictures(one)) or _pictures(folder)
    if deeper := [image for one in classes for inner in _folders(one) for image in _pictures(inner)]:
        raise ValueError(
            f"{deeper[0]} lies too deep: expected FOLDER/CLASS/NAME, so that its class is the folder's name"
        )
    if not found:
        raise ValueError(f"{folder} holds no images: expected FOLDER/CLASS/NAME{' or '.join(IMAGES)}")
    return found


def _folders(folder: Path) -> list[Path]:
    return [one for one in folder.glob("[!.]*") if one.is_dir()]


def _csv(path: Path) -> list[Row]:
    """Rows under the names of the first line; every cell is text."""
    return _table(path, quoting=csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> list[Row]:
    """The same between tabs: marks of quotation are text, as in GLUE's files, unless they stand around a cell.

    Raises:
        ValueError: also where both readings are tables, of another number of rows.
    """
    quoted: list[Row] | ValueError
    try:
        quoted = _table(path, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    except ValueError as error:
        quoted = error
    try:
        plain = _table(path, delimiter="\t", quoting=csv.QUOTE_NONE)
    except ValueError:
        plain = []
    around = any(len(cell) > 1 and cell[0] == cell[-1] == '"' for row in plain for cell in row.values())
    if plain and not around:
        return plain
    if isinstance(quoted, ValueError):
        raise quoted
    if plain and len(plain) != len(quoted):
        raise ValueError(
            f"{path} has marks of quotation that can be read in two ways: as text there are {len(plain):,} rows, "
            f"around cells {len(quoted):,}; write it as .csv or .jsonl"
        )
    return quoted


def _table(path: Path, *, quoting: Literal[0, 3], delimiter: str = ",") -> list[Row]:
    csv.field_size_limit(2**31 - 1)
    rows = []
    try:
        with path.open(encoding=UTF_8, newline="") as file:
            lines = csv.DictReader(file, delimiter=delimiter, quoting=quoting, strict=True)
            names = list(lines.fieldnames or [])
            if len({*names}) < len(names) or not all(name.strip() for name in names):
                raise ValueError(f"{path}: its first line is to name every column once, it has {', '.join(names)}")
            for row in lines:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}:{lines.line_num} has more or fewer cells than the {plural(len(names), 'column')}"
                    )
                rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable table ({error})") from None
    return rows


IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
UNREAD = (".heic", ".heif", ".avif", ".jfif", ".jp2", ".ppm", ".pgm")  # pictures as well
TABLES: dict[str, Callable[[Path], list[Row]]] = {".csv": _csv, ".tsv": _tsv}
PARSERS: dict[str, Callable[[Path], list[Row]]] = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}
