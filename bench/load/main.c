/* amqpload: load for an AMQP 0-9-1 broker, cheap enough that the broker is what is measured. Raw sockets, frames that are encoded
 * beforehand, a thread for each connection (they share nothing but a few counters, so processes would be no faster).
 *
 *   cc -O2 -o amqpload *.c -lpthread
 *   amqpload -p PORT [-M MODE] [-P producers] [-C consumers] [-n messages by producer] [-s body bytes] ...
 *
 * Modes:
 *   flow         (the default) messages go from producers through queues to consumers. Fails unless each message came once, and in
 *                order where order is promised (see flow.c).
 *   request      P clients with one request in flight each, direct reply-to, C servers: -n requests a client
 *   connection, channel, queue
 *                P clients open (declare) one and close (delete) it again, -n times each
 *   idle         opens -n connections with a channel each, prints "ready", and closes them when stdin ends
 *
 * Options of flow:
 *   -d           durable queues, persistent messages          -c W   confirms, W messages in flight
 *   -q COUNT     prefetch count (1000)                        -a N   one ack for N messages (1), 0: no acks at all
 *   -u           a message_id of its own on each message      -r R   so many messages a second, by producer
 *   -A           as most applications send: content type, message_id, correlation_id, reply_to and four headers, each message with its
 *                own; sizes from half to one and a half times -s, eight routing keys to each queue through a direct exchange, and two
 *                channels on each connection, message by message in turn
 *   -Q N         queues; producer i sends to the i-th         -R     each producer goes round all queues, and each consumer has every C-th
 *   -x           publish all, then consume                    -D     drain: publish nothing, consume what an earlier -C 0 -k left
 *   -g           basic.get, one after the other, in place of basic.consume
 *   -w SECONDS   without a message, after which one is lost (120)
 *   -k           keep the queues                              -N P   the queues are P-0, P-1 ... (bench)
 *   -T TYPE      x-queue-type                                 -X N=V another argument of the queues, a number
 *   -E EXCHANGE  publish there (somebody has bound the queues to it), with -K KEY; -F: each message comes to all queues
 *
 * Prints one line of key=value: rates in messages (requests, ...) a second, latencies in ms; with -r a latency counts from when the
 * message was due. Exits 1 if anything is lost, double or out of order, 2 if something can't be done. */
#include "amqpload.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LATENCIES_MAX = 4000000, CLIENTS_MAX = 256, BODY_MAX = 60000 };

options given = {.mode = "flow", .port = 5672, .producers = 1, .consumers = 1, .queues = 1, .messages = 100000, .body_size = 100,
                 .prefetch = 1000, .ack_every = 1, .prefix = "bench", .patience = 120};

static uint64_t *latencies;
static atomic_long latency_count;

/* --- what every mode needs --------------------------------------------------------------------------------------- */

void queue_name(char *name, int number) { snprintf(name, 64, "%s-%d", given.prefix, number % given.queues); }

void declare_queue(connection *c, int number) {
  char name[64];
  buffer b = {0};
  queue_name(name, number);
  size_t begun = begin_method(&b, 1, QUEUE_DECLARE);
  put16(&b, 0);
  put_short(&b, name);
  put8(&b, given.persistent ? 2 : 0);
  size_t table = begin_table(&b);
  if (given.queue_type) put_field(&b, "x-queue-type", given.queue_type);
  if (given.argument) {
    char argument[64];
    snprintf(argument, sizeof argument, "%.*s", (int)strcspn(given.argument, "="), given.argument);
    put_short(&b, argument);
    put8(&b, 'I');
    put32(&b, atoi(strchr(given.argument, '=') + 1));
  }
  end_table(&b, table);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, QUEUE_DECLARE_OK);
  free(b.bytes);
}

static void about_queue(connection *c, int number, uint32_t method, uint32_t answer) {
  char name[64];
  buffer b = {0};
  queue_name(name, number);
  size_t begun = begin_method(&b, 1, method);
  put16(&b, 0);
  put_short(&b, name);
  put8(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, answer);
  free(b.bytes);
}

void delete_queue(connection *c, int number) { about_queue(c, number, QUEUE_DELETE, QUEUE_DELETE_OK); }

void purge_queue(connection *c, int number) { about_queue(c, number, QUEUE_PURGE, QUEUE_PURGE_OK); }

void consume(buffer *b, int channel, const char *queue, const char *tag, int no_ack) {
  size_t begun = begin_method(b, channel, BASIC_CONSUME);
  put16(b, 0);
  put_short(b, queue);
  put_short(b, tag);
  put8(b, no_ack ? 2 : 0);
  put32(b, 0);
  end_frame(b, begun);
}

void publish_method(buffer *b, int channel, const char *exchange, const char *key) {
  size_t begun = begin_method(b, channel, BASIC_PUBLISH);
  put16(b, 0);
  put_short(b, exchange);
  put_short(b, key);
  put8(b, 0);
  end_frame(b, begun);
}

void note_latency(uint64_t nanoseconds) { latencies[atomic_fetch_add(&latency_count, 1) % LATENCIES_MAX] = nanoseconds; }

static int compare(const void *a, const void *b) {
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
  return (first > second) - (first < second);
}

void print_latencies(void) {
  long count = latency_count < LATENCIES_MAX ? latency_count : LATENCIES_MAX;
  if (!count) return;
  qsort(latencies, count, sizeof *latencies, compare);
  printf(" lat_ms_p50=%.3f lat_ms_p99=%.3f lat_ms_p999=%.3f lat_ms_max=%.3f", latencies[count / 2] / 1e6, latencies[count * 99 / 100] / 1e6,
         latencies[count * 999 / 1000] / 1e6, latencies[count - 1] / 1e6);
}

/* --- options ----------------------------------------------------------------------------------------------------- */

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "M:p:P:C:n:s:dc:q:a:Q:r:xkN:T:uARDgE:K:FX:w:")) > 0) {
    switch (option) {
      case 'M': given.mode = optarg; break;
      case 'p': given.port = atoi(optarg); break;
      case 'P': given.producers = atoi(optarg); break;
      case 'C': given.consumers = atoi(optarg); break;
      case 'n': given.messages = atol(optarg); break;
      case 's': given.body_size = atoi(optarg); break;
      case 'd': given.persistent = 1; break;
      case 'c': given.confirms = atoi(optarg); break;
      case 'q': given.prefetch = atoi(optarg); break;
      case 'a': given.ack_every = atoi(optarg); break;
      case 'Q': given.queues = atoi(optarg); break;
      case 'r': given.rate = atof(optarg); break;
      case 'x': given.in_two_steps = 1; break;
      case 'k': given.keep = 1; break;
      case 'N': given.prefix = optarg; break;
      case 'T': given.queue_type = optarg; break;
      case 'u': given.own_ids = 1; break;
      case 'A': given.as_applications = 1; break;
      case 'R': given.round_robin = 1; break;
      case 'D': given.drain = given.in_two_steps = 1; break;
      case 'g': given.get = 1; break;
      case 'E': given.exchange = optarg; break;
      case 'K': given.key = optarg; break;
      case 'F': given.to_all_queues = 1; break;
      case 'X': given.argument = optarg; break;
      case 'w': given.patience = atoi(optarg); break;
      default: exit(2);
    }
  }
  if (given.producers < 1 || given.producers > CLIENTS_MAX || given.consumers < 0 || given.consumers > CLIENTS_MAX || given.queues < 1)
    fail("from 1 to %d producers, 0 to %d consumers, and a queue", CLIENTS_MAX, CLIENTS_MAX);
  if (given.body_size < 0 || given.body_size > (given.as_applications ? BODY_MAX * 2 / 3 : BODY_MAX)) fail("that body size doesn't fit");
  if ((given.round_robin || given.to_all_queues) && given.consumers > given.queues) fail("more consumers than queues");
  if (given.argument && !strchr(given.argument, '=')) fail("-X wants NAME=NUMBER");
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  latencies = calloc(LATENCIES_MAX, sizeof *latencies);
  if (!strcmp(given.mode, "flow")) return flow();
  if (!strcmp(given.mode, "request")) return request_reply();
  if (!strcmp(given.mode, "idle")) return idle();
  return churn();
}
