"""Model archives for transform jobs and endpoints."""

from __future__ import annotations

import io
import tarfile

IMAGE = "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.0-1-cpu-py3"
SCRIPT = """
import json, os
def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "factor.json")))
def input_fn(body, content_type):
    print("payload", json.dumps(body))
    return [float(line) for line in body.splitlines()]
def predict_fn(data, model):
    return [value * model for value in data]
def output_fn(prediction, accept):
    return "".join(f"{value}\\n" for value in prediction)
"""


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
