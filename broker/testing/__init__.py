"""A broker to test against (`leveret serve --testing`): its time can be moved, faults can be ordered, and it
remembers all that happened.

Nothing of it is imported otherwise. It works by *substitution*: classes of the core and of the runtime have subclasses here, which `app`
puts in their place, so that no question is asked on the path of a message of a broker that isn't tested against.

    rig            what there is beside the broker, one object for each part: clock, chance, ...
    broker, vhost, queue, session, turn, connection, server    the subclasses ("watched")
    through        what stands between protocol and session, and hears what clients and broker say to each other
    sandboxes      a vhost and a user for one test
    snapshots      what is in a vhost: taken, put back, thrown away, written as a document
    conversation, conversations    what they said, in `wording` and `folding`; transcript: as lines
    waits          those who wait for a condition: conditions, message_waits, and idle (what that is stands there); holders: who has what
    lives/         the life of each message: published, routed and why, delivered, what became of it; and why an assertion failed
    report         all of it on a page, for a test that failed; fates: what became of messages
    clock, advance     the broker's time: moved timer by timer, frozen, kept for the next start
    wire           while the clock is frozen: each frame has a turn of its own, so that a run depends on nothing but the frames
    scheduling, consumers    in which order queues and consumers are served, where a test wants it unfair
    resources/     what is asked for over HTTP, all of it below /api/leveret/testing
"""
