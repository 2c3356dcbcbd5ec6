"""What works here and would break on RabbitMQ 4, and what loses messages: found while a test runs, or in a file of definitions.

    rules          the table: code, severity, since which version, what to do, and where RabbitMQ says so
    versions       which RabbitMQ is asked for
    finding        one finding, and all of a vhost, each counted
    declared       what queues, exchanges and policies are declared with: the same for those that are and those in a file
    definitions    a file
    witness        a connection: what clients do, and in whose name
    queue, vhost, session    what the core does: bases of the watched classes

Rules, versions, finding, declared and definitions need nothing of the server: `leveret lint FILE` imports no more.
"""
