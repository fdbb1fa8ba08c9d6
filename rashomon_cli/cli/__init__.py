"""The command line: parse, call one operation, render. One file a command; nothing here imports torch at start-up."""
