"""Tasks: one training set and the eval sets scored after it, from `TaskSpec` to examples to scores."""

from svft_bench.tasks.loading import Task, data_fingerprint, load_task
from svft_bench.tasks.pool import Example
from svft_bench.tasks.scoring import correct, responded, score
from svft_bench.tasks.sources import DataFile

__all__ = ["DataFile", "Example", "Task", "correct", "data_fingerprint", "load_task", "responded", "score"]
