"""EventBridge event patterns: the filters of the guide, and patterns that EventBridge rejects."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sagebridge.errors import EventPatternError
from sagebridge.model.event_patterns import matches, pattern_problems
from sagebridge.model.values import freeze

EVENT: dict[str, Any] = {
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "time": "2017-10-02T16:24:49Z",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000"],
    "detail": {
        "c-count": 5,
        "x-limit": 301.8,
        "source-ip": "10.0.0.33",
        "state": "running",
        "text": "",
        "none": None,
        "yes": True,
        "path": "dir/lib/a*b.PNG",
        "empty": [],
        "nested": {"deep": 1},
        "items": [{"name": "a", "size": 1}, {"name": "b", "size": 2}],
    },
}

_MATCHED: list[dict[str, Any]] = [
    {},
    {"source": ["aws.s3", "aws.ec2"]},
    {"resources": [EVENT["resources"][0]]},
    {"time": [{"prefix": "2017-10-02"}]},
    {"source": [{"suffix": "ec2"}]},
    {"detail": {"c-count": [5], "x-limit": [301.8]}},
    {"detail": {"c-count": [5.0]}},
    {"detail": {"text": [""]}},
    {"detail": {"none": [None]}},
    {"detail": {"yes": [True]}},
    {"detail": {"state": [{"equals-ignore-case": "RUNNING"}]}},
    {"detail": {"path": [{"suffix": {"equals-ignore-case": ".png"}}]}},
    {"detail": {"path": [{"prefix": {"equals-ignore-case": "DIR/"}}]}},
    {"detail": {"path": [{"wildcard": "dir/*.PNG"}]}},
    {"detail": {"path": [{"wildcard": "*/a\\*b*"}]}},
    {"detail": {"state": [{"anything-but": "initializing"}]}},
    {"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}},
    {"detail": {"x-limit": [{"anything-but": [100, 200]}]}},
    {"detail": {"state": [{"anything-but": {"prefix": "init"}}]}},
    {"detail": {"state": [{"anything-but": {"suffix": ["ed", "ing-"]}}]}},
    {"detail": {"state": [{"anything-but": {"equals-ignore-case": ["Stopped"]}}]}},
    {"detail": {"path": [{"anything-but": {"wildcard": "*/bin/*"}}]}},
    {"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}]}},
    {"detail": {"c-count": [{"numeric": ["<", 10]}], "x-limit": [{"numeric": ["=", 3.018e2]}]}},
    {"detail": {"source-ip": [{"cidr": "10.0.0.0/24"}]}},
    {"detail": {"state": [{"exists": True}], "other": [{"exists": False}]}},
    {"detail": {"none": [{"exists": True}]}},
    {"other": {"field": [{"exists": False}]}},
    {"detail": {"nested": [{"exists": False}]}},  # it works on leaf nodes only
    {"$or": [{"source": ["aws.s3"]}, {"detail": {"c-count": [{"numeric": [">", 4]}]}}]},
    {"detail": {"items": {"name": ["b"], "size": [2]}}},
]
_OTHERS: list[dict[str, Any]] = [
    {"source": ["AWS.EC2"]},
    {"source": ["aws.ec2"], "time": [{"prefix": "2018"}]},
    {"detail": {"c-count": ["5"]}},
    {"detail": {"yes": [1]}},
    {"detail": {"c-count": [True]}},
    {"detail": {"text": [None]}},
    {"detail": {"other": [None]}},
    {"detail": {"c-count": [{"prefix": "5"}]}},
    {"detail": {"path": [{"wildcard": "dir/*.png"}]}},
    {"detail": {"path": [{"wildcard": "dir\\*"}]}},
    {"detail": {"state": [{"wildcard": "run"}]}},
    {"detail": {"state": [{"anything-but": ["running"]}]}},
    {"detail": {"other": [{"anything-but": "running"}]}},
    {"detail": {"state": [{"anything-but": {"equals-ignore-case": "Running"}}]}},
    {"detail": {"path": [{"anything-but": {"wildcard": "*/lib/*"}}]}},
    {"detail": {"c-count": [{"numeric": [">", 0, "<", 5]}]}},
    {"detail": {"state": [{"numeric": [">", 0]}]}},
    {"detail": {"source-ip": [{"cidr": "10.0.1.0/24"}]}},
    {"detail": {"state": [{"cidr": "10.0.0.0/8"}]}},
    {"detail": {"state": [{"exists": False}]}},
    {"detail": {"other": [{"exists": True}]}},
    {"detail": {"empty": [{"exists": True}]}},
    {"detail": {"state": {"deep": [{"exists": True}]}}},
    {"$or": [{"source": ["aws.s3"]}, {"source": ["aws.sqs"]}]},
    {"source": ["aws.s3"], "$or": [{"time": [{"exists": True}]}, {"source": ["aws.ec2"]}]},
    {"detail": {"items": {"name": ["a"], "size": [2]}}},  # of two different items
]


@pytest.mark.parametrize("pattern", _MATCHED, ids=str)
def test_matching_patterns(pattern: dict[str, Any]) -> None:
    assert matches(pattern, EVENT)
    assert matches(freeze(pattern), EVENT)


@pytest.mark.parametrize("pattern", _OTHERS, ids=str)
def test_patterns_that_do_not_match(pattern: dict[str, Any]) -> None:
    assert not pattern_problems(pattern)
    assert not matches(pattern, EVENT)


def test_invalid_patterns_are_listed_with_their_place() -> None:
    pattern = {
        "source": "aws.s3",
        "detail": {"a": [], "b": {}, "c": [{"like": "x"}], "d": [{"prefix": 1}], "e": [[1]]},
        "$or": [{"a": [1]}],
        "f": [{"numeric": ["<", 1, "<", 2]}, {"numeric": [">"]}, {"numeric": ["=", "1"]}],
        "g": [{"cidr": "10.0.0"}, {"exists": 1}, {"anything-but": [1, "a"]}, {"anything-but": []}],
        "h": [{"wildcard": "a**"}, {"wildcard": "\\n"}, {"prefix": "a", "suffix": "b"}],
        "i": [{"numeric": ["<", 6e9]}, "valid"],
    }
    assert [line.partition(": ")[0] for line in pattern_problems(pattern)] == [
        *("/source", "/detail/a", "/detail/b", "/detail/c/0", "/detail/d/0", "/detail/e/0", "/$or"),
        *("/f/0", "/f/1", "/f/2", "/g/0", "/g/1", "/g/2", "/g/3", "/h/0", "/h/1", "/h/2", "/i/0"),
    ]
    with pytest.raises(EventPatternError, match=r"/source: 'aws\.s3'; expected a list of values"):
        matches(pattern, EVENT)


def test_many_stars_take_no_time() -> None:
    began = time.monotonic()
    pattern = {"a": [{"wildcard": "*a" * 500 + "*b"}]}
    assert not matches(pattern, {"a": "a" * 5000})
    assert time.monotonic() - began < 5
