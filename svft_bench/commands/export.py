"""Weights of a finished run for others: `svft-bench export RUN.json --merged|--lora|--adapter DIR [--push ORG/NAME]`.

RUN.json is its record. --merged is the whole model, exactly; --lora is a LoRA as close as its --rank allows, for
programs that know no other adapter, and what it leaves out is printed; --adapter is PEFT's own folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from svft_bench.config.wording import Parser, place
from svft_bench.records import load_record

if TYPE_CHECKING:
    from svft_bench.running.keeping.cards import Kind


def main(argv: list[str]) -> int:
    """Export the run's weights into a folder, with a card, and push them to the hub where that is asked.

    Raises:
        ValueError: no record, weights that are gone, a folder with something in it, or a name that the hub refuses.
    """
    parser = Parser(prog="svft-bench export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN.json", help="the record of the run")
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind, told in (("merged", "the whole model"), ("lora", "a LoRA close to the adapter"), ("adapter", "as it is")):
        kinds.add_argument(f"--{kind}", type=place, metavar="DIR", help=told)
    parser.add_argument("--rank", type=int, help="of the LoRA; 64 by default")
    parser.add_argument("--outputs", type=place, default=Path("outputs"), help="output_dir of the run")
    parser.add_argument("--push", metavar="ORG/NAME", help="put the folder on the hub under this name")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    asked = parser.parse_args(argv)
    folders: dict[Kind, Path | None] = {"merged": asked.merged, "lora": asked.lora, "adapter": asked.adapter}
    kind, into = next((kind, folder) for kind, folder in folders.items() if folder is not None)
    if not asked.run.is_file():
        raise ValueError(f"export {asked.run}: expected the record of a run, results/runs/.../RUN.json")
    if asked.rank is not None and kind != "lora":
        raise ValueError(f"--rank {asked.rank} goes with --lora, not with --{kind}")
    if asked.rank is not None and asked.rank < 1:
        raise ValueError(f"--rank {asked.rank}: a LoRA has a rank of 1 or more")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ValueError(f"--{kind} {into}: expected a folder that is empty or not there yet")
    if asked.private and asked.push is None:
        raise ValueError("--private goes with --push ORG/NAME")
    if asked.push is not None:
        _check_name(asked.push)
    record = load_record(asked.run)

    from svft_bench.running.exporting import export, push

    lost = export(
        record,
        asked.run,
        outputs=asked.outputs,
        kind=kind,
        into=into,
        rank=64 if asked.rank is None else asked.rank,
        name=asked.push or ".",
    )
    for rank, error in lost:
        print(f"a LoRA of rank {rank:4d} leaves out {error:6.1%} of the update")
    print(f"{into}: {sum(file.stat().st_size for file in into.rglob('*') if file.is_file()) / 1e6:.1f} MB")
    if asked.push is not None:
        print(push(into, to=asked.push, private=asked.private))
    return 0


def _check_name(name: str) -> None:
    """Refuse what is no name of a repository before anything loads."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"--push {name}: {error}") from None
    if name.count("/") != 1:
        raise ValueError(f"--push {name}: expected ORG/NAME")
