"""Follow the functions of flows: what each statement means as steps of a pipeline."""
