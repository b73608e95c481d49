/* The same in C99: an index, through memory and back, and what an error looks like. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <whimbrel.h>

enum { N = 3000, DIM = 16, K = 5 };

typedef struct buffer {
  char* data;
  size_t size, capacity, read;
} buffer;

static int append(void* context, const void* data, size_t size) {
  buffer* to = context;
  if (to->size + size > to->capacity) {
    size_t capacity = 2 * (to->size + size);
    char* grown = realloc(to->data, capacity);
    if (grown == NULL) return 1;
    to->data = grown;
    to->capacity = capacity;
  }
  memcpy(to->data + to->size, data, size);
  to->size += size;
  return 0;
}

static size_t take(void* context, void* data, size_t size) {
  buffer* from = context;
  size_t left = from->size - from->read;
  if (size > left) size = left;
  memcpy(data, from->data + from->read, size);
  from->read += size;
  return size;
}

static int cancel(void* context, size_t done, size_t total) {
  (void)context, (void)done, (void)total;
  return 1;
}

#define CHECK(call)                                           \
  do {                                                        \
    if ((call) != WB_OK) {                                    \
      fprintf(stderr, "%s: %s\n", #call, wb_error_message()); \
      return 1;                                               \
    }                                                         \
  } while (0)

int main(void) {
  static float values[N * DIM], distances[N * K];
  static int64_t found[N * K];
  unsigned state = 1;
  for (size_t i = 0; i < N * DIM; ++i) {
    state = state * 1664525u + 1013904223u;
    values[i] = (float)(state >> 8) / 16777216.0f;
  }

  wb_hnsw *index = NULL, *copy = NULL;
  wb_hnsw_options options = {sizeof options};
  options.M = 12;
  wb_matrix vectors = {.data = values, .rows = N, .cols = DIM};
  CHECK(wb_hnsw_create(DIM, &options, &index));
  CHECK(wb_hnsw_add(index, vectors, NULL, NULL, NULL));

  buffer file = {NULL, 0, 0, 0};
  CHECK(wb_hnsw_write(index, append, &file));
  CHECK(wb_hnsw_read(take, &file, &copy));
  CHECK(wb_hnsw_search(copy, vectors, K, 100, NULL, found, distances));
  size_t selves = 0;
  for (size_t i = 0; i < N; ++i) selves += found[i * K] == (int64_t)i;

  wb_run run = {sizeof run};
  run.progress = cancel;
  wb_status cancelled = wb_hnsw_add(copy, vectors, NULL, NULL, &run);
  size_t size = 0;
  CHECK(wb_hnsw_size(copy, &size));
  wb_status refused = wb_hnsw_search(copy, vectors, 0, 0, NULL, found, distances);
  printf("%zu of %d find themselves; k = 0: %s\n", selves, N, wb_error_message());

  wb_hnsw_free(index);
  wb_hnsw_free(copy);
  free(file.data);
  return selves > N * 99 / 100 && cancelled == WB_CANCELLED && size == N && refused == WB_INVALID_ARGUMENT
             ? 0
             : 1;
}
