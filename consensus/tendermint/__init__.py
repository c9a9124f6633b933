"""The embedded engine: Tendermint after arXiv 1807.04938, Algorithm 1, as a pure core and its records."""
