/* Messages from producers through queues to consumers, and whether they all arrive.
 *
 * A message's body begins with its sequence number (of its producer) and its source: a channel of a producer. So a consumer sees
 *
 *   that each came once       a bit for every message (and queue, with -F), in all modes but for bodies of less than 6 bytes
 *   that they are in order    of one source in one queue each is the one after the last if the queue has one consumer, and behind the last
 *                             if it has several (the order law of AMQP: a channel, an exchange, a queue)
 *
 * and, if the body has room, how long it was under way. */
#include "amqpload.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MICROSECONDS = 200000, START_MICROSECONDS = 200000, WRITE_BYTES = 65536, WRITE_MESSAGES = 64 };
enum { ID_SIZE = 16, IDS_MAX = 3, SOURCE_AT = 4, TIME_AT = 8, STAMPED_SIZE = 6, TIMED_SIZE = 16, CHANNELS = 2, KEYS = 8, SIZES = 101 };
enum { HAS_TYPE = 0x8000, HAS_HEADERS = 0x2000, HAS_MODE = 0x1000, HAS_CORRELATION = 0x0400, HAS_REPLY_TO = 0x0200, HAS_ID = 0x0080 };

static atomic_long consumed, disorder, double_count;
static atomic_int is_over, finished;
static _Atomic uint64_t *arrived;
static long total;
static double last_seen, first_arrival, last_arrival, published_at, first_tenth, last_tenth;

static int sources(void) { return given.producers * CHANNELS; }
static int step(void) { return given.as_applications ? CHANNELS : given.round_robin ? given.queues : 1; }
static int takes_every_nth(void) { return given.round_robin || given.to_all_queues; }

/* --- messages ---------------------------------------------------------------------------------------------------- */

/* A whole publish, encoded: where in it its ids and its body begin. */
typedef struct {
  buffer b;
  size_t ids[IDS_MAX], body;
  int id_count, channel, body_size;
} message;

static void put_id(message *m, const char *name) {
  static const char ID[ID_SIZE + 1] = "0123456789abcdef";
  if (name) put_field(&m->b, name, ID);
  else put_short(&m->b, ID);
  m->ids[m->id_count++] = m->b.size - ID_SIZE;
}

static void put_properties(message *m) {
  put_short(&m->b, given.as_applications ? "application/json" : "application/octet-stream");
  if (given.as_applications) {
    size_t table = begin_table(&m->b);
    put_field(&m->b, "lang", "py");
    put_field(&m->b, "task", "shop.orders.charge");
    put_id(m, "id");
    put_field(&m->b, "origin", "gen71@worker-1.example.com");
    end_table(&m->b, table);
  }
  put8(&m->b, given.persistent ? 2 : 1);
  if (given.as_applications) {
    put_id(m, NULL);
    put_short(&m->b, "b6c1d1a8-5a0f-3c35-9a3b-5d4b4a1c8e11");
  }
  if (given.as_applications || given.own_ids) put_id(m, NULL);
}

static message encode(const char *exchange, const char *key, int channel, int body_size) {
  message m = {.channel = channel, .body_size = body_size};
  publish_method(&m.b, channel, exchange, key);
  size_t begun = begin_frame(&m.b, HEADER, channel);
  put32(&m.b, 60 << 16);
  put64(&m.b, body_size);
  put16(&m.b, HAS_TYPE | HAS_MODE | (given.as_applications ? HAS_HEADERS | HAS_CORRELATION | HAS_REPLY_TO : 0) |
                  (given.as_applications || given.own_ids ? HAS_ID : 0));
  put_properties(&m);
  end_frame(&m.b, begun);
  if (body_size) {
    begun = begin_frame(&m.b, BODY, channel);
    m.body = m.b.size;
    for (int i = 0; i < body_size; i++) put8(&m.b, 'x');
    end_frame(&m.b, begun);
  }
  return m;
}

/* What a producer sends, one after the other and again. */
static message *encode_all(int producer, int *kinds) {
  char queue[64], key[80], exchange[80];
  *kinds = given.as_applications ? CHANNELS * KEYS * SIZES : given.round_robin ? given.queues : 1;
  message *all = calloc(*kinds, sizeof *all);
  for (int i = 0; i < *kinds; i++) {
    queue_name(queue, given.round_robin ? i : producer);
    snprintf(exchange, sizeof exchange, "%s", given.exchange ? given.exchange : "");
    snprintf(key, sizeof key, "%s", given.key ? given.key : queue);
    if (!given.as_applications) {
      all[i] = encode(exchange, key, 1, given.body_size);
      continue;
    }
    if (!given.exchange) snprintf(exchange, sizeof exchange, "%s-direct", given.prefix);
    if (!given.key) snprintf(key, sizeof key, "%s.%d", queue, i / CHANNELS % KEYS);
    int size = given.body_size / 2 + given.body_size * (i * 37 % SIZES) / (SIZES - 1);
    all[i] = encode(exchange, key, 1 + i % CHANNELS, size);
  }
  return all;
}

static void stamp(message *m, int producer, long sequence, double due) {
  static const char HEX[] = "0123456789abcdef";
  uint32_t number = sequence;
  uint16_t source = producer * CHANNELS + m->channel - 1;
  uint64_t time = due > 0 ? (uint64_t)(due * 1e9) : nanoseconds_now();
  uint8_t *body = m->b.bytes + m->body;
  if (m->body_size >= STAMPED_SIZE) {
    memcpy(body, &number, sizeof number);
    memcpy(body + SOURCE_AT, &source, sizeof source);
  }
  if (m->body_size >= TIMED_SIZE) memcpy(body + TIME_AT, &time, sizeof time);
  for (int each = 0; each < m->id_count; each++)
    for (int i = 0; i < ID_SIZE; i++) m->b.bytes[m->ids[each] + i] = HEX[sequence >> (60 - 4 * i) & 15];
}

/* --- producers ----------------------------------------------------------------------------------------------------- */

/* Confirms of one channel, in whatever order they come: a flag for each tag in flight. */
typedef struct {
  uint8_t *flags;
  uint64_t mask, low, count;
} window;

static void confirm_one(window *w, uint64_t tag) {
  if (tag > w->low && !w->flags[tag & w->mask]) {
    w->flags[tag & w->mask] = 1;
    w->count++;
  }
}

static void confirm(window *w, uint64_t tag, int multiple) {
  if (multiple)
    for (uint64_t i = w->low + 1; i <= tag; i++) confirm_one(w, i);
  else
    confirm_one(w, tag);
  while (w->flags[(w->low + 1) & w->mask]) {
    w->low++;
    w->flags[w->low & w->mask] = 0;
  }
}

static void read_confirms(connection *c, window *windows) {
  frame f;
  if (receive(c) < 0) fail("the broker closed the socket");
  while (next_frame(c, &f)) {
    if (f.method == BASIC_ACK) confirm(&windows[f.channel - 1], get64(f.payload + 4), f.payload[12] & 1);
    else if (f.method == BASIC_NACK) fail("a publish was nacked");
  }
}

static long confirmed(const window *windows) { return windows[0].count + windows[1].count; }

static void select_confirms(connection *c, int channel, window *w) {
  buffer b = {0};
  size_t begun = begin_method(&b, channel, CONFIRM_SELECT);
  put8(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, CONFIRM_SELECT_OK);
  free(b.bytes);
  w->mask = 1;
  while (w->mask < (uint64_t)given.confirms + 2) w->mask *= 2;
  w->flags = calloc(w->mask--, 1);
}

static void await_all(connection *c, int producer, int channel) { /* the broker has taken in what was sent on this channel */
  char name[64];
  buffer b = {0};
  queue_name(name, producer);
  size_t begun = begin_method(&b, channel, QUEUE_DECLARE);
  put16(&b, 0);
  put_short(&b, name);
  put8(&b, 1); /* passive */
  put32(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, QUEUE_DECLARE_OK);
  free(b.bytes);
}

static void *producer(void *argument) {
  int number = (long)argument, kinds, channels = given.as_applications ? CHANNELS : 1;
  message *all = encode_all(number, &kinds);
  window windows[CHANNELS] = {0};
  buffer out = {0};
  connection *c = dial(given.port);
  for (int channel = 1; channel <= channels; channel++) {
    open_channel(c, channel);
    if (given.confirms) select_confirms(c, channel, &windows[channel - 1]);
  }
  int most = WRITE_BYTES / all[0].b.size + 1;
  if (most > WRITE_MESSAGES) most = WRITE_MESSAGES;
  if (given.confirms && given.confirms < most) most = given.confirms;
  if (given.rate > 0) most = 1;
  long sent = 0, count_first = 0, count_last = 0, tenth = given.messages / 10;
  double start = seconds_now(), first = 0, last = 0;
  while (sent < given.messages) {
    int count = 0;
    while (count < most && sent + count < given.messages && (!given.confirms || sent + count - confirmed(windows) < given.confirms)) {
      message *m = &all[(sent + count) % kinds];
      stamp(m, number, sent + count, given.rate > 0 ? start + (sent + count) / given.rate : 0);
      put_bytes(&out, m->b.bytes, m->b.size);
      count++;
    }
    flush(c, &out);
    sent += count;
    if (given.rate > 0) {
      double early = start + sent / given.rate - seconds_now();
      if (early > 0) usleep(early * 1e6);
    }
    if (given.confirms) {
      struct pollfd poller = {c->fd, POLLIN, 0};
      while (poll(&poller, 1, sent - confirmed(windows) >= given.confirms || !count ? -1 : 0) > 0) {
        read_confirms(c, windows);
        count = 1;
      }
    }
    long done = given.confirms ? confirmed(windows) : sent;
    if (!first && done >= tenth) first = seconds_now(), count_first = done;
    if (!last && done >= given.messages - tenth) last = seconds_now(), count_last = done;
  }
  while (given.confirms && confirmed(windows) < sent) {
    read_confirms(c, windows);
    if (!last && confirmed(windows) >= given.messages - tenth) last = seconds_now(), count_last = confirmed(windows);
  }
  for (int channel = 1; !given.confirms && channel <= channels; channel++) await_all(c, number, channel);
  if (given.producers == 1 && given.confirms && first > start && count_last < given.messages) {
    first_tenth = count_first / (first - start);
    last_tenth = (given.messages - count_last) / (seconds_now() - last);
  }
  if (atomic_fetch_add(&finished, 1) == given.producers - 1) published_at = seconds_now();
  return NULL;
}

/* --- consumers ----------------------------------------------------------------------------------------------------- */

/* What a consumer knows, and its acks on their way out. */
typedef struct {
  connection *c;
  buffer out;
  long *next;          /* by queue and source, the sequence number that comes next */
  int queue;           /* of the delivery that is coming in */
  uint64_t tag, missing;
  int is_new;          /* nothing of its body has come */
  long unacked;
} consumer;

static void arrive(const consumer *k, const uint8_t *body, uint32_t size) {
  if (size < STAMPED_SIZE) return;
  uint32_t sequence;
  uint16_t source;
  memcpy(&sequence, body, sizeof sequence);
  memcpy(&source, body + SOURCE_AT, sizeof source);
  if (source >= sources() || sequence >= given.messages) fail("a message that was not sent: %u of source %u", sequence, source);
  int has_one_consumer = given.consumers <= given.queues;
  long *next = &k->next[(long)k->queue * sources() + source];
  if (has_one_consumer ? sequence != *next : sequence < *next) atomic_fetch_add(&disorder, 1);
  *next = (long)sequence + step();
  long index = (given.to_all_queues ? k->queue * given.producers + source / CHANNELS : source / CHANNELS) * given.messages + sequence;
  if (atomic_fetch_or(&arrived[index / 64], 1ull << index % 64) >> index % 64 & 1) atomic_fetch_add(&double_count, 1);
  if (size >= TIMED_SIZE && !given.in_two_steps) {
    uint64_t sent, now = nanoseconds_now();
    memcpy(&sent, body + TIME_AT, sizeof sent);
    note_latency(now > sent ? now - sent : 0);
  }
}

static void put_ack(consumer *k, int multiple) {
  size_t begun = begin_method(&k->out, 1, BASIC_ACK);
  put64(&k->out, k->tag);
  put8(&k->out, multiple);
  end_frame(&k->out, begun);
  k->unacked = 0;
}

static void take_whole(consumer *k) {
  k->unacked++;
  if (given.ack_every && k->unacked >= given.ack_every) put_ack(k, given.ack_every > 1);
}

/* Every frame that is there; returns how many messages they finish. */
static long take_frames(consumer *k) {
  long count = 0;
  frame f;
  while (next_frame(k->c, &f)) {
    if (f.method == BASIC_DELIVER) {
      int size = f.payload[4];
      k->tag = get64(f.payload + 5 + size);
      k->queue = 0;
      for (int i = 0; i < size; i++) k->queue = 10 * k->queue + f.payload[5 + i] - '0';
    } else if (f.method == BASIC_GET_OK) {
      k->tag = get64(f.payload + 4);
    } else if (f.method == BASIC_GET_EMPTY) {
      return -1;
    } else if (f.type == HEADER) {
      k->missing = get64(f.payload + 4);
      k->is_new = 1;
      if (!k->missing) take_whole(k), count++;
    } else if (f.type == BODY) {
      if (k->is_new) arrive(k, f.payload, f.size);
      k->is_new = 0;
      k->missing -= f.size;
      if (!k->missing) take_whole(k), count++;
    }
  }
  return count;
}

static void count_arrivals(long count) {
  last_seen = seconds_now();
  if (!first_arrival) first_arrival = last_seen;
  if (atomic_fetch_add(&consumed, count) + count >= total) {
    last_arrival = last_seen;
    atomic_store(&is_over, 1);
  }
}

static void set_timeout(connection *c, int microseconds) {
  struct timeval timeout = {0, microseconds};
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

static void begin_consuming(consumer *k, int number) {
  char queue[64], tag[16];
  if (given.ack_every) {
    size_t begun = begin_method(&k->out, 1, BASIC_QOS);
    put32(&k->out, 0);
    put16(&k->out, given.prefetch);
    put8(&k->out, 0);
    end_frame(&k->out, begun);
    flush(k->c, &k->out);
    expect(k->c, BASIC_QOS_OK);
  }
  for (int i = number; i == number || (takes_every_nth() && i < given.queues); i += given.consumers) {
    queue_name(queue, i);
    snprintf(tag, sizeof tag, "%d", i % given.queues);
    consume(&k->out, 1, queue, tag, !given.ack_every);
    if (k->out.size > WRITE_BYTES / 2) flush(k->c, &k->out);
  }
  flush(k->c, &k->out);
}

static void consume_all(consumer *k) {
  while (!is_over) {
    if (receive(k->c) < 0) fail("the broker closed the socket");
    if (seconds_now() - last_seen > given.patience) fail("%ld of %ld messages, and no more for %d s", (long)consumed, total, given.patience);
    long count = take_frames(k);
    if (given.ack_every > 1 && k->unacked && !count) put_ack(k, 1);
    if (k->out.size) flush(k->c, &k->out);
    if (count) count_arrivals(count);
  }
}

static void get_all(consumer *k, int number) {
  char queue[64];
  queue_name(queue, number);
  k->queue = number % given.queues;
  while (!is_over) {
    size_t begun = begin_method(&k->out, 1, BASIC_GET);
    put16(&k->out, 0);
    put_short(&k->out, queue);
    put8(&k->out, !given.ack_every);
    end_frame(&k->out, begun);
    flush(k->c, &k->out);
    long count;
    while (!(count = take_frames(k)))
      if (receive(k->c) < 0) fail("the broker closed the socket");
    if (count > 0) count_arrivals(count);
    else if (seconds_now() - last_seen > given.patience) fail("%ld of %ld messages", (long)consumed, total);
  }
}

static void *consumer_thread(void *argument) {
  int number = (long)argument;
  consumer k = {.c = dial(given.port), .next = calloc((long)given.queues * sources(), sizeof(long))};
  for (int queue = 0; queue < given.queues; queue++)
    for (int source = 0; source < sources(); source++)
      k.next[(long)queue * sources() + source] = given.round_robin ? queue : given.as_applications ? source % CHANNELS : 0;
  open_channel(k.c, 1);
  if (given.get) {
    get_all(&k, number);
  } else {
    set_timeout(k.c, LOOK_MICROSECONDS);
    begin_consuming(&k, number);
    consume_all(&k);
    set_timeout(k.c, 0);
  }
  if (given.ack_every && k.unacked) put_ack(&k, 1);
  if (k.out.size) flush(k.c, &k.out);
  hang_up(k.c); /* it has taken in the acks */
  free(k.out.bytes);
  free(k.next);
  return NULL;
}

/* --- all of it ----------------------------------------------------------------------------------------------------- */

static void bind_keys(connection *c, const char *exchange) {
  char queue[64], key[80];
  buffer b = {0};
  size_t begun = begin_method(&b, 1, EXCHANGE_DECLARE);
  put16(&b, 0);
  put_short(&b, exchange);
  put_short(&b, "direct");
  put8(&b, given.persistent ? 2 : 0);
  put32(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, EXCHANGE_DECLARE_OK);
  for (int i = 0; i < given.queues * KEYS; i++) {
    queue_name(queue, i / KEYS);
    snprintf(key, sizeof key, "%s.%d", queue, i % KEYS);
    begun = begin_method(&b, 1, QUEUE_BIND);
    put16(&b, 0);
    put_short(&b, queue);
    put_short(&b, exchange);
    put_short(&b, key);
    put8(&b, 0);
    put32(&b, 0);
    end_frame(&b, begun);
    flush(c, &b);
    expect(c, QUEUE_BIND_OK);
  }
  free(b.bytes);
}

static void delete_exchange(connection *c, const char *exchange) {
  buffer b = {0};
  size_t begun = begin_method(&b, 1, EXCHANGE_DELETE);
  put16(&b, 0);
  put_short(&b, exchange);
  put8(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, EXCHANGE_DELETE_OK);
  free(b.bytes);
}

static void start(pthread_t *threads, int count, void *(*doing)(void *)) {
  for (long i = 0; i < count; i++) pthread_create(&threads[i], NULL, doing, (void *)i);
}

static void join(pthread_t *threads, int count) {
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

int flow(void) {
  char exchange[80];
  pthread_t producers[given.producers], consumers[given.consumers + 1];
  long sent = given.producers * given.messages;
  if (given.as_applications && given.round_robin) fail("-A and -R don't go together");
  total = given.to_all_queues ? sent * given.queues : sent;
  arrived = calloc(total / 64 + 1, sizeof *arrived);
  snprintf(exchange, sizeof exchange, "%s-direct", given.prefix);
  connection *c = dial(given.port);
  open_channel(c, 1);
  for (int i = 0; i < given.queues; i++) {
    declare_queue(c, i);
    if (!given.drain) purge_queue(c, i);
  }
  int has_exchange = given.as_applications && !given.exchange;
  if (has_exchange) bind_keys(c, exchange);
  last_seen = seconds_now();
  if (!given.in_two_steps) {
    start(consumers, given.consumers, consumer_thread);
    usleep(START_MICROSECONDS);
  }
  double begun = last_seen = seconds_now();
  if (!given.drain) {
    start(producers, given.producers, producer);
    join(producers, given.producers);
  }
  double drained_from = last_seen = seconds_now();
  if (given.in_two_steps) start(consumers, given.consumers, consumer_thread);
  join(consumers, given.consumers);

  printf("published=%ld", given.drain ? 0 : sent);
  if (!given.drain) printf(" pub_rate=%.0f", sent / (published_at - begun));
  if (first_tenth > 0) printf(" first_tenth_rate=%.0f last_tenth_rate=%.0f", first_tenth, last_tenth);
  if (given.consumers) {
    printf(" consumed=%ld e2e_rate=%.0f", (long)consumed, total / (last_arrival - (given.in_two_steps ? drained_from : begun)));
    print_latencies();
    printf(" disorder=%ld double=%ld", (long)disorder, (long)double_count);
  }
  printf("\n");
  for (int i = 0; !given.keep && i < given.queues; i++) delete_queue(c, i);
  if (!given.keep && has_exchange) delete_exchange(c, exchange);
  return (given.consumers && consumed != total) || disorder || double_count;
}
