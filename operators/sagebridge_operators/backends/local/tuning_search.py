"""The search of a tuning job: parameter ranges, and the strategies that choose their values.

Every strategy chooses numbers between 0 and 1, which a range scales to values of its
hyperparameter, as "Hyperparameter scaling" in SageMaker's guide describes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any, Literal, Protocol

Objective = Literal["Minimize", "Maximize"]
_WIDE = 1000
"""The ratio of the ends of a range from which ScalingType Auto is logarithmic."""
_RANDOM_SHARE, _MOST_RANDOM = 4, 10
"""Bayesian search begins with a quarter of its jobs at random, at most ten."""


class InvalidRange(ValueError):
    """A range that the service rejects."""


@dataclass(frozen=True, slots=True)
class Category:
    """The values of a categorical hyperparameter."""

    name: str
    values: tuple[str, ...]

    def value(self, unit: float) -> str:
        """The value for a number from 0 to 1."""
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]


_Scale = tuple[Callable[[float], float], Callable[[float], float]]
_SCALES: Mapping[str, _Scale] = {
    "Linear": (lambda value: value, lambda scaled: scaled),
    "Logarithmic": (math.log, math.exp),
    "ReverseLogarithmic": (
        lambda value: -math.log1p(-value),
        lambda scaled: -math.expm1(-scaled),
    ),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """The range of a numeric hyperparameter, both ends included."""

    name: str
    low: float
    high: float
    scale: str = "Linear"
    whole: bool = False

    def value(self, unit: float) -> str:
        """The value for a number from 0 to 1."""
        forward, back = _SCALES[self.scale]
        start, end = forward(self.low), forward(self.high + 1 if self.whole else self.high)
        found = back(start + unit * (end - start))
        found = min(max(math.floor(found) if self.whole else found, self.low), self.high)
        return str(int(found) if self.whole else found)


Range = Category | Numbers


def ranges_of(ranges: Mapping[str, Any]) -> tuple[Range, ...]:
    """The ranges of a ParameterRanges structure.

    Raises:
        InvalidRange: an end is not a number, or the scale does not fit the range.
    """
    found: list[Range] = [
        Category(one["Name"], tuple(one["Values"]))
        for one in ranges.get("CategoricalParameterRanges") or ()
    ]
    for kind, whole in (("IntegerParameterRanges", True), ("ContinuousParameterRanges", False)):
        found += [_numbers(one, whole=whole) for one in ranges.get(kind) or ()]
    return tuple(found)


def _numbers(one: Mapping[str, Any], *, whole: bool) -> Numbers:
    name, scale = one["Name"], one.get("ScalingType", "Auto")
    try:
        low, high = (
            int(one[key]) if whole else float(one[key]) for key in ("MinValue", "MaxValue")
        )
    except ValueError as error:
        raise InvalidRange(f"the range of hyperparameter {name}: {error}") from None
    if not low <= high < math.inf:
        raise InvalidRange(f"the range of hyperparameter {name}: {low} is not below {high}")
    if scale == "Auto":
        scale = "Logarithmic" if low > 0 and high / low >= _WIDE else "Linear"
    if scale == "Logarithmic" and low <= 0:
        raise InvalidRange(f"hyperparameter {name}: Logarithmic scaling needs values above 0")
    if scale == "ReverseLogarithmic" and (whole or not 0 <= low <= high < 1):
        raise InvalidRange(
            f"hyperparameter {name}: ReverseLogarithmic scaling needs continuous values from 0 to "
            "below 1"
        )
    return Numbers(name, low, high, scale, whole)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The hyperparameters of one training job; ``space`` is the index of its ranges."""

    space: int
    parameters: Mapping[str, str]
    trial: Any = None


class Search(Protocol):
    """Chooses the hyperparameters of the next training job and learns from the results."""

    def ask(self) -> Candidate | None:
        """The next candidate; None if there are no more."""

    def tell(self, candidate: Candidate, value: float | None) -> None:
        """The objective of a candidate whose job has ended; None if it has none."""


class _Independent:
    """Candidates that do not depend on results."""

    def __init__(self, candidates: Iterator[Candidate]) -> None:
        self._candidates = candidates

    def ask(self) -> Candidate | None:
        return next(self._candidates, None)

    def tell(self, candidate: Candidate, value: float | None) -> None:
        """Results have no effect."""


def grid_size(spaces: Sequence[Sequence[Range]]) -> int:
    """The number of combinations of categorical values.

    Raises:
        InvalidRange: a range is not categorical.
    """
    for one in (one for space in spaces for one in space if isinstance(one, Numbers)):
        raise InvalidRange(f"Grid supports only categorical ranges, and {one.name} is numeric")
    return sum(math.prod(len(_choices(one)) for one in space) for space in spaces)


def grid_search(spaces: Sequence[Sequence[Range]]) -> Search:
    """Each combination once."""
    return _Independent(
        Candidate(index, dict(pairs))
        for index, space in enumerate(spaces)
        for pairs in product(*map(_choices, space))
    )


def _choices(one: Range) -> list[tuple[str, str]]:
    return [(one.name, value) for value in one.values] if isinstance(one, Category) else []


def random_search(spaces: Sequence[Sequence[Range]], seed: int | None) -> Search:
    """Independent random values; the spaces take turns."""
    numbers = random.Random(seed)
    return _Independent(
        Candidate(
            turn % len(spaces),
            {one.name: one.value(numbers.random()) for one in spaces[turn % len(spaces)]},
        )
        for turn in count()
    )


class BayesianSearch:
    """Optuna's tree-structured Parzen estimator, one per space; the spaces take turns."""

    def __init__(
        self,
        spaces: Sequence[Sequence[Range]],
        objective: Objective,
        seed: int | None,
        jobs: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        at_random = min(_MOST_RANDOM, max(2, jobs // len(spaces) // _RANDOM_SHARE))
        self._spaces, self._turn = spaces, 0
        self._failed = optuna.trial.TrialState.FAIL
        self._studies = [
            optuna.create_study(
                direction="minimize" if objective == "Minimize" else "maximize",
                sampler=optuna.samplers.TPESampler(
                    seed=None if seed is None else seed + index,
                    n_startup_trials=at_random,
                    multivariate=True,
                    constant_liar=True,  # jobs that run at the same time differ
                ),
            )
            for index, _ in enumerate(spaces)
        ]

    def ask(self) -> Candidate:
        index = self._turn % len(self._spaces)
        self._turn += 1
        trial = self._studies[index].ask()
        parameters = {}
        for one in self._spaces[index]:
            if isinstance(one, Category):
                parameters[one.name] = trial.suggest_categorical(one.name, one.values)
            else:
                parameters[one.name] = one.value(trial.suggest_float(one.name, 0, 1))
        return Candidate(index, parameters, trial)

    def tell(self, candidate: Candidate, value: float | None) -> None:
        study = self._studies[candidate.space]
        if value is None:
            study.tell(candidate.trial, state=self._failed)
        else:
            study.tell(candidate.trial, value)
