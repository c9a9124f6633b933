"""Measuring a network of this machine: its own processes, a loader, figures."""
