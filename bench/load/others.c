/* What isn't a flow of messages: requests and replies, what comes and goes, and who stays and does nothing. */
#include "amqpload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char REPLY_TO[] = "amq.rabbitmq.reply-to";
enum { ID_SIZE = 40, HAS_CORRELATION_ID = 0x0400, HAS_REPLY_TO = 0x0200 };

static double run_clients(void *(*client)(void *)) { /* seconds */
  pthread_t threads[given.producers];
  double start = seconds_now();
  for (long i = 0; i < given.producers; i++) pthread_create(&threads[i], NULL, client, (void *)i);
  for (int i = 0; i < given.producers; i++) pthread_join(threads[i], NULL);
  return seconds_now() - start;
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

/* A short string that begins at `at` of the payload; returns where it ends. */
static size_t short_string(const frame *f, size_t at, char *text) {
  memcpy(text, f->payload + at + 1, f->payload[at]);
  text[f->payload[at]] = 0;
  return at + 1 + f->payload[at];
}

static frame next_content(connection *c) { /* the content header of the next delivery */
  frame f;
  do {
    while (!next_frame(c, &f))
      if (receive(c) < 0) fail("the broker closed the socket");
  } while (f.type != HEADER);
  return f;
}

static void skip_body(connection *c, const frame *header) {
  uint64_t missing = get64(header->payload + 4);
  frame f;
  while (missing) {
    while (!next_frame(c, &f)) receive(c);
    missing -= f.size;
  }
}

static void put_message(buffer *b, const char *key, const char *id, const char *reply_to) {
  publish_method(b, 1, "", key);
  size_t begun = begin_frame(b, HEADER, 1);
  put32(b, 60 << 16);
  put64(b, given.body_size);
  put16(b, HAS_CORRELATION_ID | (reply_to ? HAS_REPLY_TO : 0));
  put_short(b, id);
  if (reply_to) put_short(b, reply_to);
  end_frame(b, begun);
  begun = begin_frame(b, BODY, 1);
  for (int i = 0; i < given.body_size; i++) put8(b, 'x');
  end_frame(b, begun);
}

/* A connection that consumes, without acks. */
static connection *dial_and_consume(const char *queue, const char *tag) {
  buffer b = {0};
  connection *c = dial(given.port);
  open_channel(c, 1);
  consume(&b, 1, queue, tag, 1);
  flush(c, &b);
  expect(c, BASIC_CONSUME_OK);
  free(b.bytes);
  return c;
}

static void *server(void *number) {
  char queue[64], id[256], reply_to[256];
  buffer b = {0};
  queue_name(queue, (long)number);
  connection *c = dial_and_consume(queue, "server");
  for (;;) { /* until the process ends */
    frame header = next_content(c);
    short_string(&header, short_string(&header, 14, id), reply_to);
    skip_body(c, &header);
    put_message(&b, reply_to, id, NULL);
    flush(c, &b);
  }
  return NULL;
}

static void *client(void *number) {
  char queue[64], id[ID_SIZE], replied[256];
  buffer b = {0};
  queue_name(queue, (long)number);
  connection *c = dial_and_consume(REPLY_TO, "replies");
  for (long i = 0; i < given.messages; i++) {
    snprintf(id, sizeof id, "%ld-%ld", (long)number, i);
    put_message(&b, queue, id, REPLY_TO);
    uint64_t sent = nanoseconds_now();
    flush(c, &b);
    frame header = next_content(c);
    short_string(&header, 14, replied);
    if (strcmp(id, replied)) fail("the reply to %s came for %s", replied, id);
    skip_body(c, &header);
    note_latency(nanoseconds_now() - sent);
  }
  hang_up(c);
  free(b.bytes);
  return NULL;
}

int request_reply(void) {
  pthread_t thread;
  connection *c = dial(given.port);
  open_channel(c, 1);
  for (int i = 0; i < given.queues; i++) declare_queue(c, i);
  for (long i = 0; i < given.consumers; i++) pthread_create(&thread, NULL, server, (void *)i);
  double seconds = run_clients(client);
  printf("e2e_rate=%.0f", given.producers * given.messages / seconds);
  print_latencies();
  printf("\n");
  for (int i = 0; i < given.queues; i++) delete_queue(c, i);
  return 0;
}

/* --- what comes and goes ------------------------------------------------------------------------------------------- */

static void *open_connections(void *number) {
  (void)number;
  for (long i = 0; i < given.messages; i++) {
    connection *c = dial(given.port);
    open_channel(c, 1);
    hang_up(c);
  }
  return NULL;
}

static void *open_channels(void *number) {
  (void)number;
  connection *c = dial(given.port);
  buffer b = {0};
  for (long i = 0; i < given.messages; i++) {
    open_channel(c, 1);
    size_t begun = begin_method(&b, 1, CHANNEL_CLOSE);
    put16(&b, 200);
    put_short(&b, "bye");
    put32(&b, 0);
    end_frame(&b, begun);
    flush(c, &b);
    expect(c, CHANNEL_CLOSE_OK);
  }
  hang_up(c);
  free(b.bytes);
  return NULL;
}

static void *declare_queues(void *number) {
  connection *c = dial(given.port);
  open_channel(c, 1);
  for (long i = 0; i < given.messages; i++) {
    declare_queue(c, (long)number);
    delete_queue(c, (long)number);
  }
  hang_up(c);
  return NULL;
}

int churn(void) {
  void *(*doing)(void *) = !strcmp(given.mode, "connection") ? open_connections
                           : !strcmp(given.mode, "channel")  ? open_channels
                           : !strcmp(given.mode, "queue")    ? declare_queues
                                                             : NULL;
  if (!doing) fail("no mode is called %s", given.mode);
  given.queues = given.producers;
  printf("e2e_rate=%.0f\n", given.producers * given.messages / run_clients(doing));
  return 0;
}

/* --- who does nothing ---------------------------------------------------------------------------------------------- */

int idle(void) {
  connection **all = calloc(given.messages, sizeof *all);
  for (long i = 0; i < given.messages; i++) open_channel(all[i] = dial(given.port), 1);
  printf("ready\n");
  fflush(stdout);
  while (getchar() != EOF) continue;
  for (long i = 0; i < given.messages; i++) hang_up(all[i]);
  free(all);
  return 0;
}
