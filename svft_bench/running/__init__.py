"""One run, from a `RunSpec` to a `RunRecord`, and many of them in a sweep.

In: a specification and settings. Out: one record, or nothing and one sentence. `run` reads as
the steps; every other file is one of them. May import everything but `commands`.
"""
