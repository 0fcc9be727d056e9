"""A pipeline's graph as a picture: Mermaid, Graphviz's DOT, or SVG."""
