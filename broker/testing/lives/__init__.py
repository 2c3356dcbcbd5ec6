"""The life of each message: who published it, where it was routed and why, who got it, and what became of it.

    life          one message, from the moment it was published on: its events, and where it is now
    history       all lives of a vhost, as many as are kept, and who is told of events
    trace         how a message came to its queues, or why to none
    outbox        where a message gets its number: a life begins, or goes on
    publisher, channel, confirms, queue, dead_letters, vhost, session    where something happens to it ("remembering")
    attempts      publishes that came to nothing, and those of transactions
    recovered     what was there at the start, and is on the disk only
    kinds         what can happen
    why           what a failed assertion says, made of fates, as sentences that stand for any number of messages
    shapes        a life as JSON

What happens is written down by subclasses of the core's classes, each of which tells what it knows and leaves the rest to the core.
"""
