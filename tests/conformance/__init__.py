"""How the broker must behave on the wire: files by section of the contract, each test citing its line.

Run with `--broker leveret` or `--broker rabbitmq`.
"""
