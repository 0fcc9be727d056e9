"""The former name of :mod:`sagebridge_operators.preload`, for environments installed before."""

from sagebridge_operators import preload  # noqa: F401
