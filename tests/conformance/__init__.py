"""How the broker must behave on the wire: one file per section of the contract, each test citing its line; run with `--broker leveret` or `--broker rabbitmq`."""
