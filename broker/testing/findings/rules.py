"""The table of what is reported.

A row's `what` says what was seen and what RabbitMQ makes of it; names in braces are those of the place and of the details. `since` is the
first version for which it is so (None: all), `until` the first for which it isn't any more. `source` is where RabbitMQ says so: a file of
rabbitmq-server at a tag, or a page of https://www.rabbitmq.com/docs. Facts alone are taken from there. docs/lint.md has the same rows.
"""

from __future__ import annotations

from typing import Final, NamedTuple

BREAKS: Final = "breaks"
LOSES: Final = "loses"
RISKS: Final = "risks"
SEVERITIES: Final = (BREAKS, LOSES, RISKS)
"""Worst first: it would fail or mean something else there; it loses messages, there as here; it may do harm."""

DEFAULT_DELIVERY_LIMIT: Final = 20
"""Of quorum queues since 4.0."""
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a message since 4.0, if not configured."""
FRAME_BYTES_MIN: Final = 8192
"""The least frame_max since 4.1."""
REDELIVERIES: Final = 10
"""A message that came back more often is in a loop."""
GETS: Final = 10
"""So many basic.get of a queue on one connection are polling."""
CHURN: Final = 5
"""So many connections or channels, each for a single message, are churn."""


class Rule(NamedTuple):
    """A row."""

    code: str
    severity: str
    since: str | None
    what: str
    advice: str
    source: str
    until: str | None = None


_ROWS: Final = (
    Rule(
        "transient-queue",
        BREAKS,
        "4.3",
        "queue '{queue}' is neither durable nor exclusive, which RabbitMQ 4.3 refuses to declare (541, the connection is closed)",
        "declare it durable (x-expires removes one that nobody uses), or exclusive",
        "v4.3.5 rabbit_amqqueue: transient_nonexcl_queues is denied by default, and declare/7 answers internal_error; permitted up to 4.2",
    ),
    Rule(
        "global-qos",
        BREAKS,
        "4.3",
        "basic.qos with global=true and prefetch {prefetch} limits the channel; RabbitMQ 4.3 takes it for a limit of each consumer",
        "set the prefetch with global=false, and count on one limit for each consumer",
        "v4.3.5 rabbit_channel: global_qos is denied by default, and basic.qos goes on with global=false",
    ),
    Rule(
        "queue-mode",
        BREAKS,
        "4.3",
        "queue '{queue}' is declared with x-queue-mode={value}, which RabbitMQ has given up in 4.3: its notes announce that such a "
        "declare fails",
        "leave the argument out: it has had no effect since 3.12",
        "release-notes/4.3.0.md. v4.3.0 to v4.3.5 have lost its check in rabbit_amqqueue, while rabbit_classic_queue still lists it, so "
        "that these take any value without effect; a quorum queue refuses it, as ever",
    ),
    Rule(
        "queue-version",
        BREAKS,
        "4.3",
        "queue '{queue}' is declared with x-queue-version={value}, which RabbitMQ 4.3 refuses (406)",
        "leave the argument out: version 2 is the only one since 4.0",
        "v4.3.5 rabbit_amqqueue check_queue_version/2 takes 2 alone; 4.0 to 4.2 take 1 too, without effect",
    ),
    Rule(
        "master-locator",
        BREAKS,
        "4.3",
        "{whose} has queue-master-locator, which RabbitMQ 4.3 refuses (541 for a queue)",
        "use queue-leader-locator, or leave it out: a single node has no choice",
        "v4.3.5 rabbit_queue_location: queue_master_locator is denied by default; rabbit_classic_queue validate_arguments/1 and "
        "validate_policy/1. Deprecated since 4.0",
    ),
    Rule(
        "mirroring",
        BREAKS,
        "4.0",
        "policy '{policy}' mirrors classic queues ({keys}), which RabbitMQ 4.0 can't do any more: it refuses to set such a policy, and "
        "ignores one that was there",
        "take these keys out, and use quorum queues where copies are needed",
        "v4.0.9 rabbit_mirror_queue_misc: classic_queue_mirroring is removed and no module validates ha-*, so rabbit_policy doesn't "
        "recognise the keys; release-notes/4.0.1.md",
    ),
    Rule(
        "consumer-timeout-argument",
        BREAKS,
        "4.3",
        "{whose} has x-consumer-timeout, which RabbitMQ refuses from 4.3.2 on for classic queues (406), and ignores in 4.3.0 and 4.3.1",
        "leave it out, or make the queue a quorum queue",
        "v4.3.2 rabbit_quorum_queue capabilities/0 lists it and rabbit_classic_queue doesn't, so check_arguments_key/4 refuses it; 4.3.0 "
        "and 4.3.1 list it for consumers alone",
    ),
    Rule(
        "consumer-timeout",
        BREAKS,
        "4.3",
        "a delivery of classic queue '{queue}' wasn't acknowledged in time, and the channel was closed; RabbitMQ 4.3 has no such timeout "
        "for classic queues, so the message stays with that consumer",
        "don't rely on it; use a quorum queue if a stuck consumer has to lose its messages",
        "release-notes/4.3.0.md; docs consumers#acknowledgement-timeout (4.3)",
    ),
    Rule(
        "large-message",
        BREAKS,
        "4.0",
        "a message of {size} bytes was published to exchange '{exchange}'; RabbitMQ 4.0 refuses those above 16777216 (406)",
        "keep such bodies elsewhere and send where they are, or raise max_message_size there",
        "v4.0.9 deps/rabbit/Makefile: max_message_size is 16777216, 134217728 in v3.13.7",
    ),
    Rule(
        "small-frames",
        BREAKS,
        "4.1",
        "the client wants frames of {frame_max} bytes at the most; RabbitMQ 4.1 refuses less than 8192 (530)",
        "don't set frame_max, or to 8192 and more; node's amqplib does so from 0.10.7 on",
        "v4.1.8 rabbit_framing.hrl: FRAME_MIN_SIZE is 8192, 4096 in v4.0.9; rabbit_reader validates tune-ok with it; "
        "release-notes/4.1.0.md",
    ),
    Rule(
        "published-deaths",
        BREAKS,
        "4.0",
        "a message that was published with an x-death header died in queue '{queue}', and its count went on from that header; since "
        "RabbitMQ 4.0 it begins anew",
        "count retries in a header of your own, or reject the message instead of publishing it again",
        "release-notes/4.0.1.md; v4.0.9 mc_amqpl doesn't read the header of what is published, as v3.13.7 does",
    ),
    Rule(
        "delivery-limit",
        BREAKS,
        "4.0",
        "a message came back to quorum queue '{queue}' more than 20 times; RabbitMQ 4 gives it up then: it is dead-lettered, or dropped",
        "set x-delivery-limit and a dead-letter exchange, and find out why the message can't be handled",
        "v4.0.9 rabbit_quorum_queue: DEFAULT_DELIVERY_LIMIT is 20; v4.3.5 rabbit_fifo return_one/7 counts what basic.reject and closed "
        "channels give back, no longer what basic.nack and basic.recover do; docs quorum-queues#poison-message-handling",
    ),
    Rule(
        "reply-mandatory",
        BREAKS,
        "4.2",
        "a mandatory reply came back, as all do up to 4.1, even one that its requester got; RabbitMQ 4.2 takes amq.rabbitmq.reply-to.* for "
        "a queue and returns none",
        "publish replies without mandatory, and declare the name passively to see whether the requester still waits",
        "docs direct-reply-to (3.13 and 4.2); release-notes/4.2.0.md",
    ),
    Rule(
        "delayed-exchange",
        BREAKS,
        "4.3",
        "exchange '{exchange}' is of type x-delayed-message, whose plugin has no release for RabbitMQ 4.3",
        "let messages wait in a queue with x-message-ttl and a dead-letter exchange",
        "rabbitmq-delayed-message-exchange at v4.2.0 and after: its Makefile asks for broker 4.2, its tables are Mnesia's, which 4.3 no "
        "longer has",
    ),
    Rule(
        "local-random",
        BREAKS,
        None,
        "exchange '{exchange}' is of type x-local-random, which RabbitMQ has since 4.0",
        "use x-random of the plugin rabbitmq_random_exchange",
        "rabbit_exchange_type_local_random is in v4.0.9 and not in v3.13.7",
        until="4.0",
    ),
    Rule(
        "no-confirms",
        LOSES,
        None,
        "persistent messages for durable queue '{queue}' were published to exchange '{exchange}' without confirms: whatever doesn't "
        "arrive or isn't written is lost, and nobody hears of it",
        "select confirms (pika: channel.confirm_delivery(), Celery: broker_transport_options = {{'confirm_publish': True}}) and wait "
        "for them, or use a transaction",
        "docs publishers#data-safety, confirms#publisher-confirms",
    ),
    Rule(
        "transient-message",
        LOSES,
        None,
        "messages for durable queue '{queue}' were published to exchange '{exchange}' as transient: a restart loses them",
        "publish with delivery_mode=2",
        "docs queues#durability",
    ),
    Rule(
        "persistent-to-transient",
        LOSES,
        None,
        "persistent messages went to queue '{queue}', which isn't durable, and to no durable one: a restart loses them with the queue",
        "declare the queue durable",
        "docs queues#durability",
    ),
    Rule(
        "auto-ack",
        LOSES,
        None,
        "a consumer of queue '{queue}' takes messages without acknowledging them (no_ack=true): those it was sent and hasn't handled are "
        "lost when it ends",
        "consume with no_ack=false, and acknowledge when the work is done",
        "docs confirms#acknowledgement-modes",
    ),
    Rule(
        "unroutable",
        LOSES,
        None,
        "messages published to exchange '{exchange}' (with key '{routing_key}') matched no binding and were dropped",
        "bind a queue before publishing, publish with mandatory=true and look at what comes back, or give the exchange an alternate one",
        "docs publishers#unroutable",
    ),
    Rule(
        "no-alternate-exchange",
        LOSES,
        None,
        "exchange '{exchange}' has the alternate exchange '{alternate}', which isn't there: what matches no binding is dropped",
        "declare '{alternate}', and a queue that is bound to it",
        "docs ae",
    ),
    Rule(
        "unconfirmed",
        LOSES,
        None,
        "{number} publishes on a channel with confirms hadn't been answered when it was closed: the publisher can't know what became of "
        "them",
        "wait for all confirms before closing",
        "docs confirms#publisher-confirms",
    ),
    Rule(
        "uncommitted",
        LOSES,
        None,
        "a channel was closed with {number} publishes that hadn't been committed: they are dropped",
        "commit before closing",
        "docs semantics",
    ),
    Rule(
        "refused",
        LOSES,
        None,
        "queue '{queue}' is full and refuses what is published (x-overflow), and the publisher hasn't asked for confirms, so it isn't told",
        "select confirms, and publish again what was nacked",
        "docs maxlength#overflow-behaviour",
    ),
    Rule(
        "dropped",
        LOSES,
        None,
        "queue '{queue}' has reached its length limit and dropped messages from its head, without a dead-letter exchange",
        "give it a dead-letter exchange, let it refuse what is published (x-overflow=reject-publish), or ignore this if it is meant so",
        "docs maxlength#overflow-behaviour",
    ),
    Rule(
        "rejected",
        LOSES,
        None,
        "messages of queue '{queue}' were rejected without requeue, and dropped, for the queue has no dead-letter exchange",
        "give it one (x-dead-letter-exchange, or a policy), or acknowledge what isn't wanted",
        "docs dlx, nack",
    ),
    Rule(
        "expired",
        LOSES,
        None,
        "messages of queue '{queue}' expired and were dropped, for the queue has no dead-letter exchange",
        "give it one (x-dead-letter-exchange, or a policy), or ignore this if old messages are worthless",
        "docs ttl, dlx",
    ),
    Rule(
        "given-up",
        LOSES,
        None,
        "messages of queue '{queue}' came back more often than its delivery limit allows and were dropped, for the queue has no "
        "dead-letter exchange",
        "give it one (x-dead-letter-exchange, or a policy)",
        "docs quorum-queues#poison-message-handling",
    ),
    Rule(
        "no-dead-letter-exchange",
        LOSES,
        None,
        "queue '{queue}' has the dead-letter exchange '{exchange}', which isn't there: its dead letters are dropped",
        "declare '{exchange}' before messages can die, and a queue that is bound to it",
        "docs dlx#routing",
    ),
    Rule(
        "dead-letter-unroutable",
        LOSES,
        None,
        "dead letters of queue '{queue}' go to exchange '{exchange}'{key_text}, where no binding takes them: they are dropped",
        "bind a queue to '{exchange}' for that key",
        "docs dlx#routing",
    ),
    Rule(
        "dead-letter-cycle",
        LOSES,
        None,
        "dead letters of queue '{queue}' came back to a queue in which they had died before without having been rejected since: they are "
        "dropped",
        "end the cycle in a queue whose messages neither expire nor are dropped",
        "docs dlx#routing; v3.13.7 rabbit_dead_letter",
    ),
    Rule(
        "no-subscriber",
        RISKS,
        None,
        "messages were published to fanout exchange '{exchange}', to which nothing is bound",
        "bind a queue before publishing, if they must not be missed",
        "docs publishers#unroutable",
    ),
    Rule(
        "get-auto-ack",
        RISKS,
        None,
        "basic.get took messages from queue '{queue}' without acknowledging them (no_ack=true): what isn't handled yet is lost when the "
        "client ends",
        "get with no_ack=false, and acknowledge when the work is done; a test that only looks can ask the broker for the queue's messages",
        "docs confirms#acknowledgement-modes",
    ),
    Rule(
        "unlimited-prefetch",
        RISKS,
        None,
        "a consumer of queue '{queue}' acknowledges by hand and has no prefetch limit: it is sent the whole queue at once",
        "set basic.qos before consuming",
        "docs confirms#channel-qos-prefetch-throughput, consumer-prefetch",
    ),
    Rule(
        "requeue-loop",
        RISKS,
        None,
        "a message of queue '{queue}' came back more than 10 times: it is requeued again and again",
        "reject without requeue after a few tries, with a dead-letter exchange; or make it a quorum queue with a delivery limit",
        "docs quorum-queues#repeated-requeues, nack",
    ),
    Rule(
        "connection-churn",
        RISKS,
        None,
        "the client opens a connection for each message that it publishes",
        "keep one connection open, and use it for all",
        "docs connections#high-connection-churn",
    ),
    Rule(
        "channel-churn",
        RISKS,
        None,
        "the client opens a channel for each message that it publishes or gets",
        "keep one channel open, and use it for all",
        "docs channels#high-channel-churn",
    ),
    Rule(
        "unacked-at-close",
        RISKS,
        None,
        "a channel was closed while it held {number} unacknowledged messages of queue '{queue}': they are delivered again",
        "cancel the consumer and settle what it holds before closing",
        "docs confirms#automatic-requeueing",
    ),
    Rule(
        "polling",
        RISKS,
        None,
        "the client asks queue '{queue}' for messages with basic.get, again and again",
        "consume instead",
        "docs consumers#polling",
    ),
    Rule(
        "shared-connection",
        RISKS,
        None,
        "one connection both publishes and consumes: when publishers are held back, its acknowledgements wait too",
        "use one connection to publish and another to consume",
        "docs connections, production-checklist",
    ),
    Rule(
        "no-heartbeat",
        RISKS,
        None,
        "the connection has no heartbeat: neither side notices for a long time that the other is gone",
        "let the client use a heartbeat of 5 seconds to a minute",
        "docs heartbeats#disabling",
    ),
    Rule(
        "exclusive-durable",
        RISKS,
        None,
        "queue '{queue}' is declared durable and exclusive: it goes with its connection, whatever durable says",
        "declare it as what is meant: durable, or exclusive",
        "docs queues#exclusive-queues; v4.3.5 rabbit_channel: durable holds only for what isn't exclusive",
    ),
    Rule(
        "queue-gone",
        RISKS,
        None,
        "queue '{queue}' was deleted {cause} while there were {number} messages in it",
        "don't let it go by itself if its messages matter",
        "docs queues#temporary-queues, ttl#queue-ttl",
    ),
    Rule(
        "quorum-priority",
        RISKS,
        "4.0",
        "messages of different priorities were published to quorum queue '{queue}', which delivers them in the order of publishing up to "
        "3.13; RabbitMQ {version} prefers the higher ones",
        "don't count on their order, or leave priorities out",
        "docs quorum-queues (3.13: no priorities), #priorities (4.0: two levels, above 4 is high; 4.3: 0 to 31, and 4 without one)",
    ),
    Rule(
        "kombu-global-qos",
        RISKS,
        "4.3",
        "py-amqp, which kombu and Celery use, asks for basic.qos with global=true; kombu before 5.7 does so with RabbitMQ 4 too, and 4.3 "
        "takes it for a limit of each consumer",
        "use kombu 5.7 or later, which goes by the server's version",
        "kombu 8f830add, qos_semantics_matches_spec in its transport pyamqp: not in v5.6.2, in 5.7.0; v4.3.5 rabbit_channel",
    ),
    Rule(
        "plugin",
        RISKS,
        None,
        "{whose} needs the plugin {plugin}, which RabbitMQ's image {provision}",
        "enable it there",
        "deps/ of rabbitmq-server; docs plugins; rabbitmq-message-deduplication's README: queues, no quorum queues",
    ),
    Rule(
        "policy-without-effect",
        RISKS,
        None,
        "policy '{policy}' sets {keys}, which has no effect",
        "take it out",
        "release-notes/3.12.0.md for queue-mode; v4.0.9 rabbit_variable_queue set_queue_version/2 does nothing",
    ),
)

RULES: Final = {rule.code: rule for rule in _ROWS}
"""By code, worst first."""
