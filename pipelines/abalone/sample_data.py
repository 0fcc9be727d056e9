"""Generate synthetic abalone data with the columns of the UCI data set.

Each animal gets a random age. A growth curve gives its length, the length gives the other sizes and
the weights, and the age plus noise gives the rings. The same seed generates the same two files:

    abalone-dataset.csv         training data: sex, seven measurements, rings
    abalone-dataset-batch.csv   input of the transform: the encoded features without the rings
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import preprocessing

FULL_GROWN = 0.68
"""Length of a full-grown animal, in the data set's unit of 200 mm."""


def animals(count: int, seed: int) -> list[list[str]]:
    """Return ``count`` rows of ``preprocessing.COLUMNS``: lengths in 200 mm, weights in 200 g."""
    random = np.random.default_rng(seed)

    def noise(spread: float) -> np.ndarray:
        return np.exp(random.normal(0.0, spread, count))

    age = 1.5 + random.gamma(shape=7.0, scale=1.2, size=count)
    grown = random.random(count) < 1 / (1 + np.exp(5.5 - 0.75 * age))
    sex = np.where(grown, np.where(random.random(count) < 0.46, "F", "M"), "I")

    length = FULL_GROWN * (1 - np.exp(-0.17 * age)) * noise(0.09)
    diameter = 0.8 * length * noise(0.02)
    height = 0.27 * length * noise(0.07)
    whole = 21.0 * length * diameter * height * noise(0.06)
    shell = (0.22 + 0.008 * age) * whole * noise(0.09)
    viscera = 0.22 * whole * noise(0.08)
    shucked = (whole - shell - viscera) * 0.83 * noise(0.04)
    rings = np.clip(np.rint(age + random.normal(0.0, 1.3, count)), 1, 29).astype(int)

    sizes = np.column_stack([length, diameter, height, whole, shucked, viscera, shell])
    return [
        [str(one), *(f"{size:.4f}" for size in row), str(count)]
        for one, row, count in zip(sex, sizes, rings, strict=True)
    ]


def write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to write the files to")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="CSV",
        help="write only the batch file, from this CSV file (for example the UCI data set)",
    )
    arguments = parser.parse_args()

    data = arguments.source
    if data is None:
        data = arguments.folder / "abalone-dataset.csv"
        write(data, animals(arguments.rows, arguments.seed))
    features = preprocessing.read(data)[:, 1:]
    write(
        arguments.folder / "abalone-dataset-batch.csv",
        ([f"{value:.10g}" for value in row] for row in features),
    )


if __name__ == "__main__":
    main()
