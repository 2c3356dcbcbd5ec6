"""A broker to test against (`leveret serve --testing`): its time can be moved, faults can be ordered, and it remembers all that happened.

Nothing of it is imported otherwise. It works by *substitution*: classes of the core and of the runtime have subclasses here, which `app`
puts in their place, so that no question is asked on the path of a message of a broker that isn't tested against.

    rig            what there is beside the broker, one object for each part
    broker, vhost, queue, session, channel, connection, turn, server    the subclasses ("watched"), put together of what the parts need
    through        what stands between protocol and session, and hears what clients and broker say to each other
    sandboxes      a vhost and a user for one test
    timing/        the broker's clock, moved and frozen; in which order queues and consumers are served
    lives/         the life of each message, and why there are so many and not others
    faults/        what is to go wrong
    waiting/       waiting until something is so
    states/        snapshots of a vhost, reset, a state as a document
    talk/          what clients and broker said to each other
    findings/      what would break on RabbitMQ 4, and what loses messages
    report, fates  all of it on a page, for a test that failed
    supervision    a broker that ends with the program that has started it
    resources/     what is asked for over HTTP, all of it below /api/leveret/testing
"""
