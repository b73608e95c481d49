"""Benches: speed and recall beside named peers, measured in one run. Not part of the package."""
