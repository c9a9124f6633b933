"""The demonstration: a network of this machine tells the whole story, step by step."""
