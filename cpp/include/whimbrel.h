/* The C interface of whimbrel: what the C++ headers offer, without exceptions, templates or C++ types.
 *
 * Rules for every function
 * - It returns a wb_status. On an error wb_error_message() says what was wrong, in the form
 *   `name: expected X, got Y`; objects are as they were, no handle is given out, and what arrays of results
 *   hold is not defined.
 * - A null handle, a null result or a size that overflows is WB_INVALID_ARGUMENT. No exception and no longjmp
 *   crosses the interface; callbacks must not throw.
 * - Options may be null. Otherwise set struct_size to sizeof the struct and leave what you do not care about
 *   zero: zero is the default of every field. Structs only ever grow at the end, so programs that were built
 *   with an older header go on working.
 * - Handles are freed by the function of their name, which takes null. What a call borrows (matrices, ids) it
 *   reads during the call only.
 * - Calls on a `const` handle may run at once; others wait for them and exclude them. A handle is freed by
 *   one thread when nobody uses it.
 */
#ifndef WHIMBREL_H
#define WHIMBREL_H

#include <stddef.h>
#include <stdint.h>

#include "whimbrel/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---- */

typedef enum wb_status {
  WB_OK = 0,
  WB_INVALID_ARGUMENT = 1, /* a shape, a value or a combination of arguments is wrong */
  WB_OUT_OF_RANGE = 2,     /* an id does not exist */
  WB_TOO_LARGE = 3,        /* more than the library can address */
  WB_OUT_OF_MEMORY = 4,
  WB_IO_ERROR = 5,     /* a file or a callback failed to read or write */
  WB_FORMAT_ERROR = 6, /* not a whimbrel file, damaged, or of an unknown version */
  WB_CANCELLED = 7,    /* a callback asked for it; nothing has changed */
  WB_INTERNAL_ERROR = 8,
  WB_DEADLINE_EXCEEDED = 9, /* as if cancelled: wb_hooks.timeout */
  WB_MEMORY_LIMIT = 10,     /* as if out of memory: wb_hooks.memory */
  WB_DISTANCE_FAILED = 11   /* as if cancelled: wb_distance.measure */
} wb_status;

/* What the last failed call of this thread said; "" if none failed. Valid until the thread's next failure. */
WHIMBREL_API const char* wb_error_message(void);

/* "0.1.0" */
WHIMBREL_API const char* wb_version(void);
/* The instruction set in use: "baseline", "avx2", "avx512", "amx" or "neon". */
WHIMBREL_API wb_status wb_active_isa(const char** name);

/* ---- Arguments that many calls share ---- */

typedef enum wb_vector_type {
  WB_FLOAT32 = 0,
  WB_INT8 = 1, /* -128 to 127, a byte each */
  WB_UINT8 = 2 /* 0 to 255 */
} wb_vector_type;

/* Rows of numbers: row i begins `i * stride` numbers behind data. A stride of 0 means cols. Floats
 * everywhere, but for an index that was made for bytes (wb_hnsw_options). */
typedef struct wb_matrix {
  const void* data;
  size_t rows;
  size_t cols;
  size_t stride;
  uint32_t type; /* a wb_vector_type */
} wb_matrix;

/* Called by the thread that made the call, about ten times a second. Anything but 0 cancels the call. */
typedef int (*wb_progress)(void* context, size_t done, size_t total);

/* How a long call runs. */
typedef struct wb_run {
  size_t struct_size;
  size_t threads; /* 0: all. Does not change a result. */
  wb_progress progress;
  void* context;
} wb_run;

/* Up to `size` bytes to `data`; returns how many, 0 at the end. More than `size`: reading failed. */
typedef size_t (*wb_read)(void* context, void* data, size_t size);
/* Not 0: writing failed. Called with pieces of a file, in order. */
typedef int (*wb_write)(void* context, const void* data, size_t size);

typedef enum wb_metric {
  WB_L2 = 0,    /* squared Euclidean distance */
  WB_IP = 1,    /* minus the inner product */
  WB_COSINE = 2 /* 1 - cosine of the angle */
} wb_metric;

/* ---- Hooks of an engine: its threads, its limits, its log ---- */

/* Where the large arrays are counted that calls allocate while it is in use: of indexes and of work under
 * way. */
typedef struct wb_memory wb_memory;
/* More than `limit` bytes are never counted at a time: what would need more is WB_MEMORY_LIMIT. */
WHIMBREL_API wb_status wb_memory_create(size_t limit, wb_memory** memory);
/* At any time once no thread uses it; what is counted on it lives on. */
WHIMBREL_API void wb_memory_free(wb_memory* memory);
WHIMBREL_API wb_status wb_memory_used(const wb_memory* memory, size_t* bytes);

/* Callbacks must not call what the call under way is about. Null ones are not called. */
typedef struct wb_hooks {
  size_t struct_size;
  /* Have task(argument) called once, by another thread, some time; not 0: refused, it must not be called.
   * The calling thread works too and waits only for tasks that have begun; one that comes late returns at
   * once. So a pool may call the library from its own threads. Null: threads of the library. */
  int (*submit)(void* context, void (*task)(void* argument), void* argument);
  void* submit_context;
  size_t concurrency; /* threads that one call may use, the calling one included. 0: as many as processors */
  /* Not 0: the call ends with WB_CANCELLED. Asked often, by all threads that work for it. */
  int (*stop)(void* context);
  void* stop_context;
  double timeout; /* seconds that one call may take. 0: any number */
  wb_memory* memory;
  /* A line of text, rarely: how a build went, a slower way that had to be gone. */
  void (*log)(void* context, const char* line);
  void* log_context;
} wb_hooks;

/* Hooks for all later calls of this thread; null: none. The struct is copied. */
WHIMBREL_API wb_status wb_use_hooks(const wb_hooks* hooks);

/* ---- Exact neighbors, intrinsic dimensionality, order ---- */

/* The k nearest rows of `data` to each query, nearest first, equal distances by row number; missing: id -1,
 * distance +inf. `ids` and `distances` are (queries.rows, k). */
WHIMBREL_API wb_status wb_knn(wb_matrix data, wb_matrix queries, size_t k, wb_metric metric,
                              const wb_run* run, int64_t* ids, float* distances);
/* The same with the rows as their own queries, each without itself. */
WHIMBREL_API wb_status wb_knn_self(wb_matrix data, size_t k, wb_metric metric, const wb_run* run,
                                   int64_t* ids, float* distances);

/* Local intrinsic dimensionality of each row of `distances`, by maximum likelihood: Euclidean (not squared)
 * distances to the nearest neighbors, ascending, without the point itself. `lid` is (distances.rows,). */
WHIMBREL_API wb_status wb_estimate_lid(wb_matrix distances, double* lid);

/* The permutation that sorts n values, equal ones by number. */
WHIMBREL_API wb_status wb_order_by_value(const double* values, size_t n, int descending, int64_t* order);
WHIMBREL_API wb_status wb_random_order(uint64_t seed, size_t n, int64_t* order);

/* ---- HNSW index ---- */

typedef struct wb_hnsw wb_hnsw;

/* What searches measure on their way. What they return is measured on the vectors. */
typedef enum wb_codec {
  WB_CODEC_F32 = 0,  /* the vectors themselves */
  WB_CODEC_SQ8 = 1,  /* a byte per coordinate */
  WB_CODEC_AUTO = 2, /* 8 or 4 bits per coordinate, of a projection or not, or floats: a sample decides */
  WB_CODEC_F16 = 3,  /* the vectors, which are kept in float16 */
  WB_CODEC_SQ4 = 4   /* half a byte per coordinate */
} wb_codec;

/* How vectors are kept, on which candidates are measured again. */
typedef enum wb_rerank {
  WB_RERANK_F32 = 0,
  WB_RERANK_F16 = 1, /* rounded to float16; not with WB_CODEC_F32, always with WB_CODEC_F16 */
  WB_RERANK_NONE = 2 /* not at all: codes take their place, and distances are those of what codes stand for */
} wb_rerank;

typedef struct wb_hnsw_options {
  size_t struct_size;
  uint32_t metric;          /* a wb_metric */
  uint32_t M;               /* links per node; level 0 has twice as many. 16 */
  uint32_t ef_construction; /* beam width while building. 200 */
  uint32_t ef_search;       /* beam width of searches that name none. 64 */
  uint64_t seed;
  double batch_growth;     /* growth of the graph per batch; 1 inserts one at a time. 2 */
  uint32_t discard_pruned; /* not 0: do not fill lists with pruned candidates */
  uint32_t codec;          /* a wb_codec */
  uint32_t rerank;         /* a wb_rerank */
  uint32_t vector_type;    /* a wb_vector_type, of vectors and queries; bytes: WB_L2 or WB_IP, WB_CODEC_F32 */
} wb_hnsw_options;

/* An empty index of vectors of `dim` values. */
WHIMBREL_API wb_status wb_hnsw_create(size_t dim, const wb_hnsw_options* options, wb_hnsw** index);
WHIMBREL_API void wb_hnsw_free(wb_hnsw* index);

/* A distance of your own, instead of a wb_metric. */
typedef struct wb_distance {
  size_t struct_size;
  const char* name; /* saved with the index: a file is loaded with a distance of the same name */
  /* distances[i] = distance of `query` to rows[i] for i < n, each of them `dim` floats as they were given.
   * Smaller is nearer; +infinity is farther than whatever is found; NaN is WB_INVALID_ARGUMENT. The graph is
   * built as if the order of the two vectors did not matter. Not 0: the call ends with WB_DISTANCE_FAILED.
   * Called by all threads that work for a call; must not call the index. */
  int (*measure)(void* context, const float* query, size_t dim, const float* const* rows, size_t n,
                 float* distances);
  void* context; /* must outlive the index */
} wb_distance;

/* The same with a distance, which is copied. options.metric: 0 */
WHIMBREL_API wb_status wb_hnsw_create_user(size_t dim, const wb_distance* distance,
                                           const wb_hnsw_options* options, wb_hnsw** index);

/* Insert the rows of `vectors`: all of them, or none on an error.
 * ids:   (vectors.rows,) unique and not negative; null: the row numbers continue
 * order: (vectors.rows,) a permutation, the order of insertion; null: as given */
WHIMBREL_API wb_status wb_hnsw_add(wb_hnsw* index, wb_matrix vectors, const int64_t* ids,
                                   const int64_t* order, const wb_run* run);
/* To an empty index, which then reads vectors where they are: they must outlive it, and it takes no changes.
 * Who changes them gets other results, but no crash. WB_COSINE: rows of length 1. */
WHIMBREL_API wb_status wb_hnsw_add_over(wb_hnsw* index, wb_matrix vectors, const int64_t* ids,
                                        const int64_t* order, const wb_run* run);

/* The approximate k nearest of each query, as wb_knn returns them. ef_search 0: the index's default. */
WHIMBREL_API wb_status wb_hnsw_search(const wb_hnsw* index, wb_matrix queries, size_t k, size_t ef_search,
                                      const wb_run* run, int64_t* ids, float* distances);

WHIMBREL_API wb_status wb_hnsw_size(const wb_hnsw* index, size_t* size);
WHIMBREL_API wb_status wb_hnsw_dim(const wb_hnsw* index, size_t* dim);
/* Remove points; their ids may be used again. An unknown id is WB_OUT_OF_RANGE, and nothing changes. */
WHIMBREL_API wb_status wb_hnsw_remove(wb_hnsw* index, const int64_t* ids, size_t n, const wb_run* run);
/* Give points other vectors, one per row: all of them or none. */
WHIMBREL_API wb_status wb_hnsw_update(wb_hnsw* index, const int64_t* ids, wb_matrix vectors,
                                      const wb_run* run);
/* Take back the room of removed points. */
WHIMBREL_API wb_status wb_hnsw_compact(wb_hnsw* index, const wb_run* run);
/* Choose the links of all points again, so that recall depends little on the order in which they were added.
 * On an error the links are as before, but for those to removed points. */
WHIMBREL_API wb_status wb_hnsw_refine(wb_hnsw* index, const wb_run* run);
/* As wb_hnsw_search, among the n_allowed points with these ids; others it does not have are ignored. */
WHIMBREL_API wb_status wb_hnsw_search_among(const wb_hnsw* index, wb_matrix queries, size_t k,
                                            size_t ef_search, const int64_t* allowed, size_t n_allowed,
                                            const wb_run* run, int64_t* ids, float* distances);

/* Bytes of vectors, graph and ids in use. */
WHIMBREL_API wb_status wb_hnsw_memory_usage(const wb_hnsw* index, size_t* bytes);
WHIMBREL_API wb_status wb_hnsw_set_ef_search(wb_hnsw* index, uint32_t ef_search);
/* All ids in row order; `ids` has room for wb_hnsw_size of them. */
WHIMBREL_API wb_status wb_hnsw_ids(const wb_hnsw* index, int64_t* ids);
/* The vectors of n ids, (n, dim) of the index's vector_type, as stored (cosine: normalized). */
WHIMBREL_API wb_status wb_hnsw_get_vectors(const wb_hnsw* index, const int64_t* ids, size_t n, void* vectors);
/* Find the smallest beam with which searches for k reach a recall, measured on `queries` (null: on points of
 * the index). It is saved with the index, for wb_hnsw_tuned_ef; `ef_search` may be null. */
WHIMBREL_API wb_status wb_hnsw_tune(wb_hnsw* index, const wb_matrix* queries, double recall, size_t k,
                                    const wb_run* run, uint32_t* ef_search);
/* The smallest beam that was tuned for at least this recall and k. */
WHIMBREL_API wb_status wb_hnsw_tuned_ef(const wb_hnsw* index, double recall, size_t k, uint32_t* ef_search);

/* The file is complete or, on an error, as it was. Paths are UTF-8 on Windows, here and below. */
WHIMBREL_API wb_status wb_hnsw_save(const wb_hnsw* index, const char* path);
WHIMBREL_API wb_status wb_hnsw_load(const char* path, wb_hnsw** index);
/* Vectors and codes stay in the file, which nobody may shorten while the index lives; such an index takes no
 * changes. verify not 0: read them all the same, to check them. The rest always is. */
WHIMBREL_API wb_status wb_hnsw_map(const char* path, int verify, wb_hnsw** index);
/* The same from a file in memory, at a multiple of 64, which must not change while the index lives. */
WHIMBREL_API wb_status wb_hnsw_view(const void* bytes, size_t size, int verify, wb_hnsw** index);
/* The file without the vectors, and an index over the caller's: those with which it was saved, as
 * wb_hnsw_add_over takes them (WB_COSINE: as wb_hnsw_get_vectors gives them). verify not 0: compare all of
 * them. */
WHIMBREL_API wb_status wb_hnsw_save_links(const wb_hnsw* index, const char* path);
WHIMBREL_API wb_status wb_hnsw_load_over(const char* path, wb_matrix vectors, int verify, wb_hnsw** index);
WHIMBREL_API wb_status wb_hnsw_write(const wb_hnsw* index, wb_write write, void* context);
WHIMBREL_API wb_status wb_hnsw_read(wb_read read, void* context, wb_hnsw** index);
/* Files of wb_hnsw_create_user; WB_INVALID_ARGUMENT for another name than that of the distance there. */
WHIMBREL_API wb_status wb_hnsw_load_user(const char* path, const wb_distance* distance, wb_hnsw** index);
WHIMBREL_API wb_status wb_hnsw_read_user(wb_read read, void* context, const wb_distance* distance,
                                         wb_hnsw** index);

/* ---- Fixed dimensional encodings (MUVERA) ---- */

typedef struct wb_fde wb_fde;

typedef enum wb_fde_projection {
  WB_FDE_COUNT_SKETCH = 0,
  WB_FDE_SIGN = 1,
  WB_FDE_IDENTITY = 2
} wb_fde_projection;

typedef struct wb_fde_options {
  size_t struct_size;
  uint32_t k_sim;      /* sign bits per repetition. 5; WB_FDE_NO_BITS for none */
  uint32_t r_reps;     /* repetitions. 20 */
  uint32_t projection; /* a wb_fde_projection */
  uint32_t d_proj;     /* coordinates per cell. 16; the identity has dim */
  size_t d_final;      /* length after a last count sketch; 0: none */
  uint64_t seed;
  uint32_t leave_empty; /* not 0: a document's empty cells stay zero */
  uint32_t google_mode; /* not 0: random numbers of the reference implementation */
} wb_fde_options;

#define WB_FDE_NO_BITS UINT32_MAX

/* Sets of vectors, one after another: set i is rows offsets[i] .. offsets[i + 1] of `tokens`. */
typedef struct wb_ragged {
  wb_matrix tokens;
  const int64_t* offsets; /* (sets + 1,) from 0 to tokens.rows, never falling */
  size_t sets;
} wb_ragged;

WHIMBREL_API wb_status wb_fde_create(size_t dim, const wb_fde_options* options, wb_fde** encoder);
WHIMBREL_API void wb_fde_free(wb_fde* encoder);
WHIMBREL_API wb_status wb_fde_dim_out(const wb_fde* encoder, size_t* dim_out);
/* `encodings` is (sets, dim_out). The inner product of a query's and a document's encoding is about r_reps
 * times their Chamfer score. */
WHIMBREL_API wb_status wb_fde_encode_documents(const wb_fde* encoder, wb_ragged documents, const wb_run* run,
                                               float* encodings);
WHIMBREL_API wb_status wb_fde_encode_queries(const wb_fde* encoder, wb_ragged queries, const wb_run* run,
                                             float* encodings);

/* ---- MaxSim and the multi-vector index ---- */

/* Exact late-interaction scores, sum over q of max over p of <q, p>: (queries.sets, docs.sets). A document
 * without tokens scores -inf. normalize not 0: divided by the number of query tokens. */
WHIMBREL_API wb_status wb_maxsim(wb_ragged queries, wb_ragged docs, int normalize, const wb_run* run,
                                 float* scores);

typedef struct wb_multi_vector wb_multi_vector;

typedef enum wb_token_type { WB_TOKENS_F16 = 0, WB_TOKENS_F32 = 1, WB_TOKENS_INT8 = 2 } wb_token_type;

typedef struct wb_multi_vector_options {
  size_t struct_size;
  uint32_t store;           /* how tokens are kept: a wb_token_type */
  uint32_t M;               /* of the graph over the encodings. 16 */
  uint32_t ef_construction; /* 200 */
  uint32_t reserved;        /* 0 */
  uint64_t seed;
} wb_multi_vector_options;

/* Documents as sets of token vectors of `dim` values, found by one vector of `encoding_dim` values each (by
 * inner product: of wb_fde, or the caller's own) and ranked by MaxSim. */
WHIMBREL_API wb_status wb_multi_vector_create(size_t dim, size_t encoding_dim,
                                              const wb_multi_vector_options* options,
                                              wb_multi_vector** index);
WHIMBREL_API void wb_multi_vector_free(wb_multi_vector* index);
/* Append documents, numbered on from the last, with an encoding each: all of them, or none on an error. */
WHIMBREL_API wb_status wb_multi_vector_add(wb_multi_vector* index, wb_matrix encodings, wb_ragged docs,
                                           const wb_run* run);
/* The best k of the `candidates` (0: 200) nearest encodings of each query by MaxSim, best first; missing: -1
 * and -inf. allowed: (size,), 0 for documents that must not be returned; null: all may. `ids` and `scores`
 * are (queries.sets, k). */
WHIMBREL_API wb_status wb_multi_vector_search(const wb_multi_vector* index, wb_matrix encodings,
                                              wb_ragged queries, size_t k, size_t candidates,
                                              const uint8_t* allowed, size_t n_allowed, const wb_run* run,
                                              int64_t* ids, float* scores);
/* Never return these documents again. */
WHIMBREL_API wb_status wb_multi_vector_remove(wb_multi_vector* index, const int64_t* ids, size_t n);
/* Documents added, removed ones too. */
WHIMBREL_API wb_status wb_multi_vector_size(const wb_multi_vector* index, size_t* size);
WHIMBREL_API wb_status wb_multi_vector_save(const wb_multi_vector* index, const char* path);
/* mmap not 0: tokens stay in the file, which must not change while the index lives. */
WHIMBREL_API wb_status wb_multi_vector_load(const char* path, int mmap, wb_multi_vector** index);
WHIMBREL_API wb_status wb_multi_vector_write(const wb_multi_vector* index, wb_write write, void* context);
WHIMBREL_API wb_status wb_multi_vector_read(wb_read read, void* context, wb_multi_vector** index);
/* From a file in memory, at a multiple of 4: tokens stay there, the rest is copied. The bytes must not change
 * while the index lives. */
WHIMBREL_API wb_status wb_multi_vector_view(const void* bytes, size_t size, wb_multi_vector** index);

/* ---- Search with an expensive scorer (CUR) ---- */

/* Scores of a scorer for all items, known for some queries, completed for others from the scores of a few. */
typedef struct wb_cur wb_cur;

typedef enum wb_cur_storage { WB_CUR_F32 = 0, WB_CUR_F16 = 1, WB_CUR_INT8 = 2 } wb_cur_storage;

typedef struct wb_cur_options {
  size_t struct_size;
  uint32_t storage;   /* of the features: a wb_cur_storage */
  uint32_t no_center; /* not 0: do not subtract each item's mean score */
  uint32_t intercept; /* not 0: a query may score all items higher than others do */
  uint32_t reserved;  /* 0 */
  size_t rank;        /* singular directions kept. 0: all */
} wb_cur_options;

/* anchor_scores: a row per anchor query, a column per item. first_stage: null, or the scores of a cheap first
 * stage on the same pairs; then every search needs them too. */
WHIMBREL_API wb_status wb_cur_fit(wb_matrix anchor_scores, const wb_matrix* first_stage,
                                  const wb_cur_options* options, const wb_run* run, wb_cur** index);
WHIMBREL_API void wb_cur_free(wb_cur* index);
/* Items. */
WHIMBREL_API wb_status wb_cur_size(const wb_cur* index, size_t* size);
WHIMBREL_API wb_status wb_cur_save(const wb_cur* index, const char* path);
WHIMBREL_API wb_status wb_cur_load(const char* path, wb_cur** index);
WHIMBREL_API wb_status wb_cur_write(const wb_cur* index, wb_write write, void* context);
WHIMBREL_API wb_status wb_cur_read(wb_read read, void* context, wb_cur** index);

/* A search under a budget of scorer calls, driven by the caller, who alone can call the scorer:
 *   while (wb_cur_search_next_items(search, &items, &n) == WB_OK && n > 0) {
 *     ... scores[i] = score(items[i]) ...
 *     wb_cur_search_observe(search, scores, n);
 *   }
 *   wb_cur_search_top_k(search, ids, scores);
 * For one thread at a time. The index must outlive it. */
typedef struct wb_cur_search wb_cur_search;

typedef enum wb_cur_rule {
  WB_CUR_TOP_K = 0,      /* a round takes the highest predictions */
  WB_CUR_SOFTMAX = 1,    /* a sample by exp(prediction / temperature) */
  WB_CUR_UNCERTAINTY = 2 /* the highest prediction + kappa * standard deviation */
} wb_cur_rule;

typedef struct wb_cur_search_options {
  size_t struct_size;
  size_t k;           /* 10 */
  size_t budget;      /* scorer calls, never exceeded. 200 */
  size_t rounds;      /* the budget is spent in so many nearly equal parts. 10 */
  double split;       /* share of the budget for the rounds; the rest goes to the highest predictions. 1 */
  double mu;          /* ridge parameter. 0: chosen by leave-one-out */
  double temperature; /* in units of the scores. 1 */
  double kappa;       /* 1 */
  uint64_t seed;
  size_t threads;    /* 0: all */
  uint32_t rule;     /* a wb_cur_rule */
  uint32_t reserved; /* 0 */
} wb_cur_search_options;

/* start: n_start items to begin with, best first, or null. first_stage: a score for each of the index's
 * items, or null. */
WHIMBREL_API wb_status wb_cur_search_create(const wb_cur* index, const wb_cur_search_options* options,
                                            const int64_t* start, size_t n_start, const float* first_stage,
                                            wb_cur_search** search);
WHIMBREL_API void wb_cur_search_free(wb_cur_search* search);
/* What to score next, none at the end; the same again until their scores were observed. `items` is valid
 * until the next call with this search. */
WHIMBREL_API wb_status wb_cur_search_next_items(wb_cur_search* search, const int64_t** items, size_t* n);
/* The scores of these items, in their order. */
WHIMBREL_API wb_status wb_cur_search_observe(wb_cur_search* search, const float* scores, size_t n);
/* Scores observed. */
WHIMBREL_API wb_status wb_cur_search_calls(const wb_cur_search* search, size_t* calls);
/* The k best of the scored items by their exact scores, equal scores by number; missing: -1 and -inf. `ids`
 * and `scores` are (k,). */
WHIMBREL_API wb_status wb_cur_search_top_k(const wb_cur_search* search, int64_t* ids, float* scores);

#ifdef __cplusplus
}
#endif

#endif /* WHIMBREL_H */
