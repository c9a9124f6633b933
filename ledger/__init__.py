"""What an auditor needs to verify everything: encoding, hashes, trees, blocks, state, log, store, verifier."""
