"""Other people's client libraries against the broker: what the lessons and tutorials do, unchanged.

Run with `--broker leveret` or `--broker rabbitmq`.
"""
