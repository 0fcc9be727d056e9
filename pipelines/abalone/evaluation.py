"""Evaluate the trained model on the test file and write the report that the condition reads."""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path

import numpy as np
import xgboost


def load(archive: Path) -> xgboost.Booster:
    """Load the model from ``model.tar.gz`` in memory, without extracting the archive."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("xgboost-model")
        if member is None:
            raise SystemExit(f"{archive.name}: xgboost-model is not a file")
        model = xgboost.Booster()
        model.load_model(bytearray(member.read()))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=Path("/opt/ml/processing"))
    base = parser.parse_args().base

    animals = np.loadtxt(base / "test" / "test.csv", delimiter=",", ndmin=2)
    rings, features = animals[:, 0], animals[:, 1:]
    errors = rings - load(base / "model" / "model.tar.gz").predict(xgboost.DMatrix(features))
    mse = {
        "value": float(np.mean(errors**2)),
        "standard_deviation": float(np.std(errors)),
    }

    report = base / "evaluation" / "evaluation.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"regression_metrics": {"mse": mse}}, indent=2) + "\n")
    print(f"mse {mse['value']:.4f} over {len(rings)} animals")


if __name__ == "__main__":
    main()
