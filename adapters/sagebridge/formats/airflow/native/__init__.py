"""Write a pipeline as a DAG of the Amazon provider's and standard operators only."""
