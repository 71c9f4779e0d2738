"""The float32 graph, its form, its types."""
