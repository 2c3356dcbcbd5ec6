"""Faults that a test has ordered: by rule, counted, from a seed.

    moment      one thing that is said between a client and the broker, and what it is about
    rule        when something is to go wrong: it is asked about each moment, and counts
    order       from what a test sends to a rule, or to a text that says what is wrong with it
    rules       all that are in effect
    actions/    what can go wrong: a class each

Where they get in between: `interference` what clients and broker say, `session` logins and what is put off, `publisher` publishes that go
nowhere, `confirms`, `consumers` and `queue` deliveries, `connection` the socket, with `line` for its bytes, `disk` and `store` what is
written, `alarms`.
"""
