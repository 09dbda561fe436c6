"""Benchmarks: what is measured, on real models, and never a test that times. `./run bench [NAME ...]` prints each as JSON."""

__all__: list[str] = []
