"""From records and references to statistics, tables, figures, the report, the audit and estimates.

In: records, the papers' tables in `references`, and the cells asked for. Out: text and pictures,
a pure function of them. Trains nothing; only the audit counts with real modules.
"""
