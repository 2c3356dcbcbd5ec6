"""The command line: one module per command, each imported only when it is the one that was typed."""
