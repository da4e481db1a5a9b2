"""How well propagation does on labelled volumes, beside what simpler methods do on the same tasks."""

from slmsam2.evaluation.methods import METHODS, Outcome
from slmsam2.evaluation.scores import Score, score
from slmsam2.evaluation.tasks import Benchmark, Task, benchmark_of, read_benchmark, tasks_of

__all__ = [
    "METHODS",
    "Benchmark",
    "Outcome",
    "Score",
    "Task",
    "benchmark_of",
    "read_benchmark",
    "score",
    "tasks_of",
]
