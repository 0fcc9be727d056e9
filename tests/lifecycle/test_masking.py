from __future__ import annotations

from sagebridge_operators.lifecycle.masking import masked


def test_environments_keep_their_names_and_lose_their_values() -> None:
    request = {
        "Environment": {"TOKEN": "hunter2", "N": 1},
        "Containers": [{"Environment": {"TOKEN": "hunter2"}, "Image": "i"}],
        "HyperParameters": {"Environment": "a plain text"},
    }
    assert masked(request) == {
        "Environment": {"TOKEN": "***", "N": "***"},
        "Containers": [{"Environment": {"TOKEN": "***"}, "Image": "i"}],
        "HyperParameters": {"Environment": "a plain text"},
    }
    assert request["Environment"] == {"TOKEN": "hunter2", "N": 1}
