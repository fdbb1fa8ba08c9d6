"""Named arrays in, figures out."""
