"""Kinds of tasks by name: how outputs are scored, trained on and compared. A new one is one class in this list."""

from compression.problems.binary import BinaryClassification
from compression.problems.classification import ImageClassification, LanguageModeling, TextClassification
from compression.problems.problem import Evaluation, PairedDifference, Problem
from compression.problems.quality import ACCURACY, R2, Quality, quality
from compression.problems.regression import Regression

__all__ = [
    "ACCURACY", "PROBLEMS", "R2", "Evaluation", "PairedDifference", "Problem", "Quality", "problem_of", "quality",
]
PROBLEMS: dict[str, Problem] = {
    problem.key: problem
    for problem in (
        ImageClassification(), BinaryClassification(), Regression(), TextClassification(), LanguageModeling()
    )
}


def problem_of(task: str) -> Problem:
    """The problem of a task's name.

    Raises:
        ValueError: if there is none of that name.
    """
    if task not in PROBLEMS:
        raise ValueError(f"task {task!r}; allowed: " + ", ".join(PROBLEMS))
    return PROBLEMS[task]
