// The lessons' programs with node's amqplib: direct, topic and a consumer that acks, with confirms and an error at the end.
// Run by tests/clients/test_node.py: node lessons.js amqp://guest:guest@127.0.0.1:5672

'use strict';

const assert = require('node:assert/strict');
const amqp = require('amqplib');

const url = process.argv[2];

// Resolves with the first `count` messages of a queue; acks each unless told not to.
function take(channel, queue, count, { ack = true } = {}) {
  return new Promise((resolve, reject) => {
    const messages = [];
    if (count === 0) resolve(messages);
    channel
      .consume(queue, (message) => {
        if (message === null) return;
        messages.push(message);
        if (ack) channel.ack(message);
        if (messages.length === count) channel.cancel(message.fields.consumerTag).then(() => resolve(messages), reject);
      })
      .catch(reject);
  });
}

const bodies = (messages) => messages.map((message) => message.content.toString());

async function direct(connection) {
  const channel = await connection.createChannel();
  const exchange = `node-direct-${process.pid}`;
  await channel.assertExchange(exchange, 'direct', { durable: false, autoDelete: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, 'error');
  await channel.bindQueue(queue, exchange, 'warning');
  for (const severity of ['info', 'warning', 'error']) channel.publish(exchange, severity, Buffer.from(severity));
  assert.deepEqual(bodies(await take(channel, queue, 2)), ['warning', 'error']);
  await channel.close();
}

async function topic(connection) {
  const channel = await connection.createChannel();
  const exchange = `node-topic-${process.pid}`;
  await channel.assertExchange(exchange, 'topic', { durable: false, autoDelete: true });
  const expected = {
    'order.*.*': ['order.new.europe', 'order.paid.asia'],
    '*.*.europe': ['order.new.europe', 'invoice.sent.europe'],
    '#': ['order.new.europe', 'order.paid.asia', 'invoice.sent.europe', 'login'],
  };
  const queues = {};
  for (const pattern of Object.keys(expected)) {
    queues[pattern] = (await channel.assertQueue('', { exclusive: true })).queue;
    await channel.bindQueue(queues[pattern], exchange, pattern);
  }
  for (const key of expected['#']) channel.publish(exchange, key, Buffer.from(key));
  for (const [pattern, keys] of Object.entries(expected)) {
    assert.deepEqual(bodies(await take(channel, queues[pattern], keys.length)), keys);
  }
  await channel.close();
}

async function consumerWithAck(connection) {
  const channel = await connection.createConfirmChannel();
  const queue = `node-work-${process.pid}`;
  await channel.assertQueue(queue, { durable: true });
  try {
    await channel.prefetch(1);
    for (let number = 0; number < 10; number++) {
      channel.sendToQueue(queue, Buffer.from(`task ${number}`), { persistent: true, headers: { number, nested: { list: [1, 'two', true] } } });
    }
    await channel.waitForConfirms();
    const messages = await take(channel, queue, 10);
    assert.deepEqual(bodies(messages), Array.from({ length: 10 }, (_, number) => `task ${number}`));
    assert.deepEqual(messages[3].properties.headers, { number: 3, nested: { list: [1, 'two', true] } });
    assert.equal(messages[0].properties.deliveryMode, 2);

    // what isn't acked comes back when the channel closes
    channel.sendToQueue(queue, Buffer.from('again'));
    await channel.waitForConfirms();
    const other = await connection.createChannel();
    const [first] = await take(other, queue, 1, { ack: false });
    assert.equal(first.fields.redelivered, false);
    await other.close();
    const [second] = await take(channel, queue, 1);
    assert.equal(second.fields.redelivered, true);
    assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  } finally {
    await channel.deleteQueue(queue);
  }
  await channel.close();
}

async function returnsAndErrors(connection) {
  const channel = await connection.createConfirmChannel();
  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.publish('', 'nowhere-at-all', Buffer.from('lost'), { mandatory: true });
  await channel.waitForConfirms();
  const message = await returned;
  assert.equal(message.fields.replyText, 'NO_ROUTE');
  assert.equal(message.content.toString(), 'lost');

  const failed = new Promise((resolve) => channel.once('error', resolve));
  await assert.rejects(channel.checkQueue('missing'), /404 \(NOT-FOUND\) with message "NOT_FOUND - no queue 'missing' in vhost '\/'"/);
  assert.equal((await failed).code, 404);
}

async function main() {
  const connection = await amqp.connect(url, { heartbeat: 30 });
  for (const lesson of [direct, topic, consumerWithAck, returnsAndErrors]) {
    await lesson(connection);
    console.log(`${lesson.name}: ok`);
  }
  await connection.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
