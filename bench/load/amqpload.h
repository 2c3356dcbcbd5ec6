/* What the parts of the load generator share. */
#ifndef AMQPLOAD_H
#define AMQPLOAD_H

#include "wire.h"

typedef struct {
  const char *mode;          /* -M flow, request, connection, channel, queue, idle */
  int port;                  /* -p */
  int producers, consumers;  /* -P -C */
  int queues;                /* -Q */
  long messages;             /* -n, by producer */
  int body_size;             /* -s */
  int persistent;            /* -d: durable queues, persistent messages */
  int confirms;              /* -c: so many unconfirmed at the most; 0: no confirms */
  int prefetch;              /* -q */
  int ack_every;             /* -a, 0: no ack */
  double rate;               /* -r, messages a second by producer; 0: as fast as it goes */
  int own_ids;               /* -u: a message_id of its own on each message */
  int as_applications;       /* -A */
  int round_robin;           /* -R */
  int in_two_steps;          /* -x: publish first, then consume */
  int keep;                  /* -k: leave the queues */
  int drain;                 /* -D: publish nothing */
  int get;                   /* -g: basic.get in place of basic.consume */
  const char *prefix;        /* -N: of the queues' names */
  const char *queue_type;    /* -T */
  const char *exchange;      /* -E: publish there */
  const char *key;           /* -K: with this routing key; without, the queue's name */
  int to_all_queues;         /* -F: every message arrives in every queue */
  int patience;              /* -w: seconds without a message after which one is lost */
  const char *argument;      /* -X NAME=NUMBER: an argument of the queues */
} options;

extern options given;

void queue_name(char *name, int number);   /* 64 bytes */
void declare_queue(connection *c, int number);
void delete_queue(connection *c, int number);
void purge_queue(connection *c, int number);
void consume(buffer *b, int channel, const char *queue, const char *tag, int no_ack);
void publish_method(buffer *b, int channel, const char *exchange, const char *key);

void note_latency(uint64_t nanoseconds);   /* by any thread */
void print_latencies(void);                /* those noted, as lat_ms_p50=... */

int flow(void);                            /* each returns the exit status */
int request_reply(void);
int churn(void);
int idle(void);

#endif
