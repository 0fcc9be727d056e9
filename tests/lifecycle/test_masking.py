from __future__ import annotations

from typing import Any

import pytest

from sagebridge_operators.lifecycle.masking import (
    looks_secret,
    mask,
    mask_line,
    mask_text,
    named_secrets,
    secrets_in_log,
)


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


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "dbPassword",
        "smtp-passwd",
        "secret",
        "clientSecret",
        "token",
        "HF_TOKEN",
        "hf-token",
        "accessToken",
        "api_key",
        "apiKey",
        "APIKey",
        "OPENAI_API_KEY",
        "apikey",
        "private-key",
        "aws_secret_access_key",
        "credential",
        "GoogleCredentials",
    ],
)
def test_secret_name(name: str) -> None:
    assert looks_secret(name)
    assert looks_secret(f"--{name}")


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "max_token",
        "tokenizer",
        "tokens",
        "pad_token",
        "eos_token_id",
        "tokenLimit",
        "NextToken",
        "ClientToken",
        "secretary",
        "passwordless",
        "key",
        "Key",
        "VolumeKmsKeyId",
        "primary_key",
        "monkey",
        "learning_rate",
    ],
)
def test_other_name(name: str) -> None:
    assert not looks_secret(name)


def test_values_with_secret_names_are_masked() -> None:
    request = {
        "HyperParameters": {"api_key": '"k-1234"', "max_tokens": "512", "epochs": "3"},
        "Tags": [{"Key": "password", "Value": "p-1234"}, {"Key": "team", "Value": "ml"}],
        "TokenOptions": {"size": 1},
    }
    assert mask(request) == {
        "HyperParameters": {"api_key": "***", "max_tokens": "512", "epochs": "3"},
        "Tags": [{"Key": "password", "Value": "***"}, {"Key": "team", "Value": "ml"}],
        "TokenOptions": {"size": 1},
    }
    assert mask_text("got k-1234 and p-1234", request) == "got *** and ***"


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        (["--api-key", "k-1", "--epochs", "3"], ["--api-key", "***", "--epochs", "3"]),
        (["--api-key=k-1", "--max-tokens=5"], ["--api-key=***", "--max-tokens=5"]),
        (["API_KEY=k-1", "N=5"], ["API_KEY=***", "N=5"]),
        (["-c", "run --password 'a b' --n 5"], ["-c", "run --password *** --n 5"]),
        (["-c", 'TOKEN="k-1" run token'], ["-c", "TOKEN=*** run token"]),
        (["python", "tokenizer.py", "token"], ["python", "tokenizer.py", "token"]),
    ],
)
def test_container_arguments_are_masked(arguments: list[str], masked: list[str]) -> None:
    request = {"AppSpecification": {"ContainerArguments": arguments}}
    assert mask(request) == {"AppSpecification": {"ContainerArguments": masked}}


def test_expressions_of_a_definition_stay() -> None:
    given: dict[str, Any] = {
        "Environment": {
            "A": {"Get": "Parameters.A"},
            "B": {"Std:Join": {"On": "-", "Values": ["hunter2", {"Get": "Parameters.B"}]}},
        },
        "HyperParameters": {"password": {"Get": "Parameters.P"}},
    }
    assert mask(given) == {
        "Environment": {
            "A": {"Get": "Parameters.A"},
            "B": {"Std:Join": {"On": "-", "Values": ["***", {"Get": "Parameters.B"}]}},
        },
        "HyperParameters": {"password": {"Get": "Parameters.P"}},
    }


def test_mask_text_hides_environment_values() -> None:
    request = {"Containers": [{"Environment": {"PIN": 123456, "LEVEL": "1", "T": "1234567"}}]}
    text = "1 error: value: 123456, type: int; Value '{T=1234567}' at 'environment'"
    assert mask_text(text, request) == (
        "1 error: value: ***, type: int; Value '{T=***}' at 'environment'"
    )


def test_bucket_of_an_s3_uri_stays() -> None:
    request = {"Environment": {"BUCKET": "my-bucket", "SIGNATURE": "hunter2hunter2"}}
    text = "s3://my-bucket/x/my-bucket is missing; my-bucket/x s3://hunter2hunter2 hunter2hunter2/x"
    masked = "s3://my-bucket/x/*** is missing; ***/x s3://*** ***/x"
    assert mask_text(text, request) == masked
    assert mask_line(text, secrets_in_log(request)) == masked


def test_log_of_a_job_masks_what_may_be_secret() -> None:
    environment = {
        "LEVEL": "INFO",
        "REGION": "eu-central-1",
        "DATA": "s3://bucket/data",
        "SECONDS": "86400000",
        "SIGNATURE": "hunter2hunter2",
        "PASSWORD": "12345",
    }
    hidden = secrets_in_log({"Environment": environment, "HyperParameters": {"token": "t-123"}})
    line = " ".join((*environment.values(), "t-123"))
    assert mask_line(line, hidden) == "INFO eu-central-1 s3://bucket/data 86400000 *** *** ***"


def test_environment_in_a_list_of_pairs_is_masked() -> None:
    """ECS and Batch have such environments."""
    variables = [{"name": "MODE", "value": "a-long-value"}, {"name": "DB_PASSWORD", "value": "pw1"}]
    request = {"overrides": {"containerOverrides": [{"name": "app", "environment": variables}]}}
    (shown,) = mask(request)["overrides"]["containerOverrides"]
    assert [one["value"] for one in shown["environment"]] == ["***", "***"]
    assert shown["environment"][1]["name"] == "DB_PASSWORD"
    assert named_secrets(request) == ["pw1"]
    assert mask({"tags": [{"key": "api_key", "value": "k"}]}) == {
        "tags": [{"key": "api_key", "value": "***"}]
    }


def test_password_of_a_package_index_is_masked_in_logs() -> None:
    line = "PIP_INDEX_URL=https://user:pass-word@packages.example:8443/simple git@host http://a:1/b"
    masked = "PIP_INDEX_URL=https://user:***@packages.example:8443/simple git@host http://a:1/b"
    assert mask_line(line, []) == masked
    assert mask_line("-i https://token@packages.example/", []) == "-i https://***@packages.example/"
