/* AMQP 0-9-1 for the load generator: as little of it as a client needs, over blocking sockets. Whatever goes wrong ends the process. */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>
#include <stdint.h>

enum { METHOD = 1, HEADER = 2, BODY = 3, FRAME_OVERHEAD = 8, FRAME_MAX = 131072 };
enum { /* class and method in one number */
  CONNECTION_START = 0x000a000a, CONNECTION_START_OK = 0x000a000b, CONNECTION_TUNE = 0x000a001e, CONNECTION_TUNE_OK = 0x000a001f,
  CONNECTION_OPEN = 0x000a0028, CONNECTION_OPEN_OK = 0x000a0029, CONNECTION_CLOSE = 0x000a0032, CONNECTION_CLOSE_OK = 0x000a0033,
  CHANNEL_OPEN = 0x0014000a, CHANNEL_OPEN_OK = 0x0014000b, CHANNEL_CLOSE = 0x00140028, CHANNEL_CLOSE_OK = 0x00140029,
  EXCHANGE_DECLARE = 0x0028000a, EXCHANGE_DECLARE_OK = 0x0028000b, EXCHANGE_DELETE = 0x00280014, EXCHANGE_DELETE_OK = 0x00280015,
  QUEUE_DECLARE = 0x0032000a, QUEUE_DECLARE_OK = 0x0032000b, QUEUE_BIND = 0x00320014, QUEUE_BIND_OK = 0x00320015,
  QUEUE_PURGE = 0x0032001e, QUEUE_PURGE_OK = 0x0032001f, QUEUE_DELETE = 0x00320028, QUEUE_DELETE_OK = 0x00320029,
  BASIC_QOS = 0x003c000a, BASIC_QOS_OK = 0x003c000b, BASIC_CONSUME = 0x003c0014, BASIC_CONSUME_OK = 0x003c0015,
  BASIC_PUBLISH = 0x003c0028, BASIC_DELIVER = 0x003c003c, BASIC_GET = 0x003c0046, BASIC_GET_OK = 0x003c0047,
  BASIC_GET_EMPTY = 0x003c0048, BASIC_ACK = 0x003c0050, BASIC_NACK = 0x003c0078, CONFIRM_SELECT = 0x0055000a,
  CONFIRM_SELECT_OK = 0x0055000b,
};

/* Bytes on their way out. */
typedef struct {
  uint8_t *bytes;
  size_t size, capacity;
} buffer;

void put8(buffer *b, unsigned value);
void put16(buffer *b, unsigned value);
void put32(buffer *b, uint32_t value);
void put64(buffer *b, uint64_t value);
void put_bytes(buffer *b, const void *bytes, size_t size);
void put_short(buffer *b, const char *text);                       /* a short string */
void put_field(buffer *b, const char *name, const char *value);    /* of a table: a long string */
size_t begin_table(buffer *b);
void end_table(buffer *b, size_t begun);
size_t begin_frame(buffer *b, int type, int channel);
size_t begin_method(buffer *b, int channel, uint32_t method);
void end_frame(buffer *b, size_t begun);

typedef struct {
  int type, channel;
  uint32_t size, method; /* 0 unless it is a method frame */
  const uint8_t *payload;
} frame;

typedef struct {
  int fd;
  uint8_t *in;
  size_t capacity, size, position;
} connection;

uint32_t get32(const uint8_t *bytes);
uint64_t get64(const uint8_t *bytes);
_Noreturn void die(const char *what);                              /* with what errno says */
_Noreturn void fail(const char *format, ...);                      /* what the broker did is wrong */
double seconds_now(void);
uint64_t nanoseconds_now(void);

connection *dial(int port);                                        /* to an open connection, with no channel */
void open_channel(connection *c, int channel);
void hang_up(connection *c);                                       /* connection.close and its answer; frees it */
void send_all(connection *c, const uint8_t *bytes, size_t size);
void flush(connection *c, buffer *b);                              /* sends what is there and empties it */
int receive(connection *c);                                        /* 1: more bytes, 0: none in time, -1: the connection is closed */
int next_frame(connection *c, frame *f);                           /* 1 if a whole one was there */
frame expect(connection *c, uint32_t method);                      /* waits for it, past everything else but a close */

#endif
