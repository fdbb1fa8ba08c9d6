"""One file a command, same name: load, do the science, publish. The only layer that knows all the others."""
