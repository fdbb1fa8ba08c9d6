"""What ``align`` matches by and measures."""
