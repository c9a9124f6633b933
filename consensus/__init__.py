"""Ordering of transactions among validators. Knows nothing of directory or licenses."""
