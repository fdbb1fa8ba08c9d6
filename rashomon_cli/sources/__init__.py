"""Where models and data come from: built in, or the user's own module."""
