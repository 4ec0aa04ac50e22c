"""`svft-bench prepare model=NAME`: fetch and check the weights and fill the SVD cache, before any run needs them."""

from __future__ import annotations

from svft_bench.compose import cells


def main(argv: list[str]) -> int:
    """Load every distinct model of the cells that these overrides stand for, and take the SVDs that their methods need."""
    from svft_bench.run import prepare

    seen: set[tuple[str, str | None]] = set()
    for cell in cells(argv):
        key = (cell.spec.model.name, cell.spec.method.modules)
        if key in seen:
            continue
        seen.add(key)

        ready = prepare(cell.spec, cell.settings)
        print(f"{cell.spec.model.title}: loaded in {ready.load_seconds:.0f} s, adapted in {ready.adapt_seconds:.0f} s")
    return 0
