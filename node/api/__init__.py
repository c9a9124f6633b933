"""The HTTP API of a node, split by resource."""
