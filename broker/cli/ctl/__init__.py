"""rabbitmqctl and its siblings: thin clients of the HTTP API, over the control socket (broker/control.py).

`main` finds the command in `table`, imports the module of its noun, reads the command line (`options`), asks the broker (`api`) and
prints what comes back (`formats`, `terms`). Each call is a process that lives for some hundredths of a second, so nothing is imported that
the command at hand doesn't need; above all nothing of the server.
"""
