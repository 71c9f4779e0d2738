"""One page that shows what was exported from what, how good it is, how fast, and what was not measured."""
