"""Spectra of the loss's curvature: a symmetric matrix that is known only by its products with vectors."""
