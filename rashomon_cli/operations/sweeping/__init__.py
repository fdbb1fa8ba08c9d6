"""The members of a ``sweep``, and what is read off them."""
