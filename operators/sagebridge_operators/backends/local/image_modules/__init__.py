"""Modules that only SageMaker's images have. Scripts of models find this folder last."""
