#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char LOGIN[] = "\0guest\0guest";

void die(const char *what) {
  fprintf(stderr, "amqpload: %s: %s\n", what, strerror(errno));
  exit(2);
}

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("amqpload: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

double seconds_now(void) { return nanoseconds_now() * 1e-9; }

uint64_t nanoseconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* --- bytes out --------------------------------------------------------------------------------------------------- */

void put_bytes(buffer *b, const void *bytes, size_t size) {
  if (b->size + size > b->capacity) {
    b->capacity = 2 * (b->size + size) + 1024;
    if ((b->bytes = realloc(b->bytes, b->capacity)) == NULL) die("no memory");
  }
  memcpy(b->bytes + b->size, bytes, size);
  b->size += size;
}

void put8(buffer *b, unsigned value) {
  uint8_t byte = value;
  put_bytes(b, &byte, 1);
}

void put16(buffer *b, unsigned value) {
  put8(b, value >> 8);
  put8(b, value);
}

void put32(buffer *b, uint32_t value) {
  put16(b, value >> 16);
  put16(b, value);
}

void put64(buffer *b, uint64_t value) {
  put32(b, value >> 32);
  put32(b, value);
}

void put_short(buffer *b, const char *text) {
  put8(b, strlen(text));
  put_bytes(b, text, strlen(text));
}

void put_field(buffer *b, const char *name, const char *value) {
  put_short(b, name);
  put8(b, 'S');
  put32(b, strlen(value));
  put_bytes(b, value, strlen(value));
}

static void set32(buffer *b, size_t at, uint32_t value) {
  for (int i = 0; i < 4; i++) b->bytes[at + i] = value >> (24 - 8 * i);
}

size_t begin_table(buffer *b) {
  put32(b, 0);
  return b->size;
}

void end_table(buffer *b, size_t begun) { set32(b, begun - 4, b->size - begun); }

size_t begin_frame(buffer *b, int type, int channel) {
  put8(b, type);
  put16(b, channel);
  put32(b, 0);
  return b->size;
}

size_t begin_method(buffer *b, int channel, uint32_t method) {
  size_t begun = begin_frame(b, METHOD, channel);
  put32(b, method);
  return begun;
}

void end_frame(buffer *b, size_t begun) {
  set32(b, begun - 4, b->size - begun);
  put8(b, 0xCE);
}

/* --- the socket -------------------------------------------------------------------------------------------------- */

uint32_t get32(const uint8_t *bytes) { return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]; }

uint64_t get64(const uint8_t *bytes) { return (uint64_t)get32(bytes) << 32 | get32(bytes + 4); }

void send_all(connection *c, const uint8_t *bytes, size_t size) {
  while (size) {
    ssize_t sent = send(c->fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      die("write");
    }
    bytes += sent;
    size -= sent;
  }
}

void flush(connection *c, buffer *b) {
  send_all(c, b->bytes, b->size);
  b->size = 0;
}

int receive(connection *c) {
  if (c->position) {
    memmove(c->in, c->in + c->position, c->size - c->position);
    c->size -= c->position;
    c->position = 0;
  }
  if (c->size == c->capacity) {
    c->capacity *= 2;
    if ((c->in = realloc(c->in, c->capacity)) == NULL) die("no memory");
  }
  ssize_t got = recv(c->fd, c->in + c->size, c->capacity - c->size, 0);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
  if (got <= 0) return -1;
  c->size += got;
  return 1;
}

int next_frame(connection *c, frame *f) {
  if (c->size - c->position < FRAME_OVERHEAD) return 0;
  const uint8_t *head = c->in + c->position;
  uint32_t size = get32(head + 3);
  if (c->size - c->position < size + FRAME_OVERHEAD) return 0;
  if (head[7 + size] != 0xCE) fail("a frame without its end");
  f->type = head[0];
  f->channel = head[1] << 8 | head[2];
  f->size = size;
  f->payload = head + 7;
  f->method = f->type == METHOD ? get32(f->payload) : 0;
  c->position += size + FRAME_OVERHEAD;
  if (f->method == CONNECTION_CLOSE || f->method == CHANNEL_CLOSE)
    fail("the broker closed: %d %.*s", f->payload[4] << 8 | f->payload[5], f->payload[6], (const char *)f->payload + 7);
  return 1;
}

frame expect(connection *c, uint32_t method) {
  frame f;
  do {
    while (!next_frame(c, &f))
      if (receive(c) < 0) fail("the broker closed the socket");
  } while (f.method != method);
  return f;
}

connection *dial(int port) {
  connection *c = calloc(1, sizeof *c);
  c->capacity = 4096;
  c->in = malloc(c->capacity);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  buffer b = {0};
  put_bytes(&b, "AMQP\0\0\x09\x01", 8);
  flush(c, &b);
  expect(c, CONNECTION_START);
  size_t begun = begin_method(&b, 0, CONNECTION_START_OK);
  put32(&b, 0);
  put_short(&b, "PLAIN");
  put32(&b, sizeof LOGIN - 1);
  put_bytes(&b, LOGIN, sizeof LOGIN - 1);
  put_short(&b, "en_US");
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, CONNECTION_TUNE);
  begun = begin_method(&b, 0, CONNECTION_TUNE_OK);
  put16(&b, 2047);
  put32(&b, FRAME_MAX);
  put16(&b, 0);
  end_frame(&b, begun);
  begun = begin_method(&b, 0, CONNECTION_OPEN);
  put_short(&b, "/");
  put16(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, CONNECTION_OPEN_OK);
  free(b.bytes);
  return c;
}

void open_channel(connection *c, int channel) {
  buffer b = {0};
  size_t begun = begin_method(&b, channel, CHANNEL_OPEN);
  put8(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, CHANNEL_OPEN_OK);
  free(b.bytes);
}

void hang_up(connection *c) {
  buffer b = {0};
  size_t begun = begin_method(&b, 0, CONNECTION_CLOSE);
  put16(&b, 200);
  put_short(&b, "bye");
  put32(&b, 0);
  end_frame(&b, begun);
  flush(c, &b);
  expect(c, CONNECTION_CLOSE_OK);
  close(c->fd);
  free(b.bytes);
  free(c->in);
  free(c);
}
