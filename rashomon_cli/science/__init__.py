"""Torch in, numbers out: no files, no printing, no global state; each module is usable from a notebook on its own."""
