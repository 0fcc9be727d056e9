"""Functions for Python steps that do what standard operators of the engines do.

A written DAG or flow imports them by name; they run the same on both engines.
"""
