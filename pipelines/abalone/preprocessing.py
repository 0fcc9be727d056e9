"""Split a CSV file of abalones into train, validation and test files.

The features are the seven measurements, unscaled, and the sex as three 0/1 columns. Decision trees
do not need scaled features, so new data can be encoded without a fitted encoder. The script needs
only numpy, which every image contains.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

MEASUREMENTS = (
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
)
SEXES = ("F", "I", "M")
COLUMNS = ("sex", *MEASUREMENTS, "rings")


def encode(sex: str, measurements: list[str]) -> list[float]:
    """Return the features of one animal.

    A missing measurement is ``nan``. An unknown sex is 0 in all three columns.
    """
    numbers = [float(text) if text.strip() else float("nan") for text in measurements]
    return numbers + [float(sex.strip() == one) for one in SEXES]


def read(path: Path) -> np.ndarray:
    """Read one row per animal: the rings, then the features. A header line is skipped."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    if lines and not is_number(lines[0][1][-1]):
        del lines[0]
    animals = []
    for number, row in lines:
        if len(row) != len(COLUMNS):
            raise SystemExit(
                f"{path.name}:{number}: expected {len(COLUMNS)} columns ({', '.join(COLUMNS)}), "
                f"got {len(row)}"
            )
        sex, *measurements, rings = row
        try:
            animals.append([float(rings), *encode(sex, measurements)])
        except ValueError as error:
            raise SystemExit(f"{path.name}:{number}: {error}") from None
    if len(animals) < 10:
        raise SystemExit(f"{path.name}: expected at least 10 animals, got {len(animals)}")
    return np.array(animals)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def only_file(folder: Path) -> Path:
    """Return the single file of the job's input folder."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise SystemExit(f"{folder}: expected one CSV file, found {found}")
    return files[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=Path("/opt/ml/processing"))
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffle before the split")
    arguments = parser.parse_args()

    animals = read(only_file(arguments.base / "input"))
    np.random.default_rng(arguments.seed).shuffle(animals)
    first, second = int(0.7 * len(animals)), int(0.85 * len(animals))
    parts = {
        "train": animals[:first],
        "validation": animals[first:second],
        "test": animals[second:],
    }
    for name, part in parts.items():
        folder = arguments.base / name
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / f"{name}.csv", part, fmt="%.10g", delimiter=",")
        print(f"{name}: {len(part)} animals")


if __name__ == "__main__":
    main()
