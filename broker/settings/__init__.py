"""Every setting that can be given, and how one Config comes of what was given.

    setting       what a row of the table is          loading       which sources there are, and in which order
    network       the rows: listeners, TLS, TCP       files         which files are read
    access        users and who decides               environment   RABBITMQ_* and LEVERET_*
    node          limits, disk, memory, definitions   advanced      advanced.config's terms as settings
    logging       where log lines go                  terms         reads Erlang terms
    table         all rows, and how to find one       given         what one source says
    rabbitmq      RabbitMQ's other keys               assembly      the Config of all that was given
    documentation conf/leveret.conf                   effective     what `leveret config show` prints

The keys are RabbitMQ's. `python -m broker.settings` writes conf/leveret.conf, the documentation of the table.
"""
