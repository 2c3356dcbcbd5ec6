"""Other people's client libraries against the broker: what the lessons and tutorials do, unchanged; run with `--broker leveret` or `--broker rabbitmq`."""
