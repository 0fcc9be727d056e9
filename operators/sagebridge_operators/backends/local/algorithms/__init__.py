"""SageMaker's built-in algorithms that the local backend supports."""
