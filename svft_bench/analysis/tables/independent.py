"""What others than a paper's authors measured, beside the paper's numbers and marked as theirs."""

from __future__ import annotations

from svft_bench.analysis.references import Reference, load_references
from svft_bench.analysis.tables.lines import label
from svft_bench.analysis.tables.value import Row


def independent_rows(reference: Reference, *, with_model: bool) -> list[Row]:
    """The rows of every independent reference that belongs beside this table, in the columns that both have."""
    rows = []
    for other in _beside(reference):
        for row in other.rows:
            scores = [
                f"{row.scores[column.name]:.{column.decimals}f}" if column.name in row.scores else ""
                for column in reference.columns
            ]
            if not any(scores):
                continue
            name = label(row) if with_model else f"{label(row)}, {row.model}"
            lead = ([row.model] if with_model else []) + [name, row.params_printed or ""]
            facts: dict[str, object] = {"model": row.model, "method": row.method, "settings": label(row)}
            facts |= {"parameters_printed": row.params_printed, "independent": other.name}
            facts |= {f"{column}.independent": score for column, score in row.scores.items()}
            rows.append(Row((*lead, "independent", *scores), facts))
    return rows


def independent_notes(reference: Reference) -> list[str]:
    """Who measured them and how; of a table that is itself independent, that it is no paper's own."""
    found = [one for one in (reference, *_beside(reference)) if one.independent is not None]
    return [
        f"Independent ({one.name}): {one.independent.source}. {one.independent.protocol} Measured by others than the "
        "authors of the methods compared, on another model or training set: no repetition of a printed cell."
        for one in found
        if one.independent is not None
    ]


def _beside(reference: Reference) -> list[Reference]:
    every = load_references().values()
    return [one for one in every if one.independent is not None and reference.name in one.independent.beside]
