"""The brokers that tests run against: Leveret itself, and RabbitMQ as the oracle."""
