"""The checks of Model Monitor's and Clarify's containers, with pandas.

Each module runs as the process of a job, and writes the files whose formats the SageMaker guide
publishes.
"""
