"""The scalar functions, a file a group; `features.functions` gathers them."""
