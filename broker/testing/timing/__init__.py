"""The broker's time, and what depends on nothing else.

clock       wall time, moved and frozen
advance     time passes: timer by timer, a turn after each
backlog     what clients had sent before, and the system has still to bring
wire        while the clock is frozen, each frame has a turn of its own: a run depends on nothing but the frames
scheduling, consumers    in which order queues and consumers are served, where a test wants it unfair
"""
