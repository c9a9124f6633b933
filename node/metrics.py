"""Metrics in Prometheus' format: counters as things happen, the rest read when asked for."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ledger.finalization import FinalizedBlock


class Metrics:
    """The metrics of one node, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._blocks = Counter("mulu_blocks", "Blocks committed", registry=self.registry)
        self._transactions = Counter(
            "mulu_transactions",
            "Transactions committed, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self._block_transactions = Histogram(
            "mulu_block_transactions",
            "Transactions in a block",
            buckets=(0, 1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 20_000),
            registry=self.registry,
        )
        self._gauges: dict[str, Gauge] = {}

    def committed(self, finalized: FinalizedBlock) -> None:
        """Count a committed block."""
        failed = sum(1 for result in finalized.results if not result.succeeded)
        count = len(finalized.results)
        self._blocks.inc()
        self._block_transactions.observe(count)
        self._transactions.labels("committed").inc(count - failed)
        self._transactions.labels("failed").inc(failed)

    def set(self, name: str, value: float, text: str) -> None:
        """Set a gauge; it is made when it is first set."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"mulu_{name}", text, registry=self.registry)
        self._gauges[name].set(value)

    def set_each(self, name: str, label: str, values: Mapping[str, float], text: str) -> None:
        """Set a gauge with one label for each of its values, and for no others."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"mulu_{name}", text, [label], registry=self.registry)
        gauge = self._gauges[name]
        gauge.clear()
        for value, number in values.items():
            gauge.labels(value).set(number)

    def render(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self.registry)
