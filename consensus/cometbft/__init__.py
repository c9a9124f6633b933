"""The second engine: CometBFT v0.38 as a process of its own, which drives the application over ABCI 2.0."""
