"""Hand-edited ``definition`` and ``pipeline`` of a flow: rejected with line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import SourceError
from sagebridge.model.pipeline import Pipeline, Step

WRONG = {
    "definition=5": "definition: expected a dict, got 5",
    "definition={'Steps': 5}": "Steps: expected a list of step names, got 5",
    "definition={'Parameters': 5}": "Parameters: expected dicts, got 5",
    "definition={'Parameters': [1]}": "Parameters: expected dicts",
    "definition={'KeyOrder': {'Steps': 5}}": "expected a list of keys at 'Steps', got 5",
    "pipeline=5": "pipeline: expected a dict, got 5",
}


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_argument_is_rejected_with_its_line(tmp_path: Path, argument: str) -> None:
    pipeline = Pipeline("p", [Step("A", "Model", {})], metadata={"a": 1}, parameters=[])
    text = sagebridge.write(pipeline, "prefect").text
    old = 'definition={"Metadata": {"a": 1}}'
    assert old in text
    file = tmp_path / "flow.py"
    file.write_text(text.replace(old, argument))
    with pytest.raises(SourceError, match=rf"flow\.py:\d+: .*{WRONG[argument]}"):
        sagebridge.read(file, "prefect")
