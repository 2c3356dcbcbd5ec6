"""The HTTP API: RabbitMQ's management API (https://www.rabbitmq.com/docs/http-api-reference), and what Leveret has beside it."""
