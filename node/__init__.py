"""The process: configuration, keys, peers, mempool, runner, sync, HTTP API, index."""
