"""What survives a crash: the append-only log, and the catalog of what is declared."""
