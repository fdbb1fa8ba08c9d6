"""Measure the Rashomon set of a trained network."""
