from __future__ import annotations

from sagebridge_operators.lifecycle.masking import mask, mask_text


def test_mask_hides_environment_values() -> None:
    request = {
        "Environment": {"TOKEN": "hunter2", "N": 1},
        "Containers": [{"Environment": {"TOKEN": "hunter2"}, "Image": "i"}],
        "HyperParameters": {"Environment": "a plain text"},
    }
    assert mask(request) == {
        "Environment": {"TOKEN": "***", "N": "***"},
        "Containers": [{"Environment": {"TOKEN": "***"}, "Image": "i"}],
        "HyperParameters": {"Environment": "a plain text"},
    }
    assert request["Environment"] == {"TOKEN": "hunter2", "N": 1}


def test_mask_text_hides_environment_values() -> None:
    request = {"Containers": [{"Environment": {"PIN": 123456, "LEVEL": "1", "T": "1234567"}}]}
    text = "1 error: value: 123456, type: int; Value '{T=1234567}' at 'environment'"
    assert mask_text(text, request) == (
        "1 error: value: ***, type: int; Value '{T=***}' at 'environment'"
    )
