"""SageMaker pipeline definitions, bare or inside a Create/DescribePipeline document."""
