"""Pictures of a pipeline's graph: Mermaid, Graphviz DOT and SVG."""
