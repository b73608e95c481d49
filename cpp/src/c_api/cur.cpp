// Search with an expensive scorer in C.
#include "whimbrel/cur.hpp"

#include <algorithm>
#include <vector>

#include "c_api/boundary.hpp"
#include "whimbrel/cur_search.hpp"

using namespace whimbrel::c_api;

struct wb_cur {
  whimbrel::CurIndex index;
};

struct wb_cur_search {
  whimbrel::CurSearch search;
  std::size_t k;
};

extern "C" {

wb_status wb_cur_fit(wb_matrix anchor_scores, const wb_matrix* first_stage, const wb_cur_options* options,
                     const wb_run* run, wb_cur** index) {
  return guarded([&] {
    const auto scores = read_matrix("anchor_scores", anchor_scores);
    const wb_cur_options given = read_options("wb_cur_options", options);
    const Run how = read_run(run);
    if (given.storage > WB_CUR_INT8)
      throw std::invalid_argument("storage: expected a wb_cur_storage, got " + std::to_string(given.storage));
    whimbrel::CurParams params;
    params.storage = static_cast<whimbrel::CurStorage>(given.storage);
    params.center = given.no_center == 0;
    params.intercept = given.intercept != 0;
    params.rank = given.rank;
    params.threads = how.threads;
    params.progress = how.progress;
    whimbrel::MatrixView<const float> first;
    if (first_stage != nullptr) {
      first = read_matrix("first_stage", *first_stage);
      required("first_stage", first.data);
    }
    required("index", index);
    *index = new wb_cur{whimbrel::CurIndex::fit(scores, params, first)};
  });
}

void wb_cur_free(wb_cur* index) { delete index; }

wb_status wb_cur_size(const wb_cur* index, size_t* size) {
  return guarded([&] { required("size", size) = required("index", index).index.size(); });
}

wb_status wb_cur_save(const wb_cur* index, const char* path) {
  return guarded([&] { required("index", index).index.save(std::string(&required("path", path))); });
}

wb_status wb_cur_load(const char* path, wb_cur** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_cur{whimbrel::CurIndex::load(std::string(&required("path", path)))};
  });
}

wb_status wb_cur_write(const wb_cur* index, wb_write write, void* context) {
  return guarded([&] { required("index", index).index.save(read_sink(write, context)); });
}

wb_status wb_cur_read(wb_read read, void* context, wb_cur** index) {
  return guarded([&] {
    required("index", index);
    *index = new wb_cur{whimbrel::CurIndex::load(read_source(read, context))};
  });
}

wb_status wb_cur_search_create(const wb_cur* index, const wb_cur_search_options* options,
                               const int64_t* start, size_t n_start, const float* first_stage,
                               wb_cur_search** search) {
  return guarded([&] {
    const wb_cur_search_options given = read_options("wb_cur_search_options", options);
    const whimbrel::CurIndex& items = required("index", index).index;
    if (given.rule > WB_CUR_UNCERTAINTY)
      throw std::invalid_argument("rule: expected a wb_cur_rule, got " + std::to_string(given.rule));
    whimbrel::CurSearchParams params;
    params.k = or_default(given.k, params.k);
    params.budget = or_default(given.budget, params.budget);
    params.rounds = or_default(given.rounds, params.rounds);
    params.split = or_default(given.split, params.split);
    params.mu = or_default(given.mu, params.mu);
    params.temperature = or_default(given.temperature, params.temperature);
    params.kappa = or_default(given.kappa, params.kappa);
    params.rule = static_cast<whimbrel::CurRule>(given.rule);
    params.seed = given.seed;
    params.threads = given.threads;
    product("n_start", n_start, 1);
    const std::span<const float> first(first_stage, first_stage == nullptr ? 0 : items.size());
    required("search", search);
    *search = new wb_cur_search{
        whimbrel::CurSearch(items, params, {required_array("start", start, n_start), n_start}, first),
        params.k};
  });
}

void wb_cur_search_free(wb_cur_search* search) { delete search; }

wb_status wb_cur_search_next_items(wb_cur_search* search, const int64_t** items, size_t* n) {
  return guarded([&] {
    required("items", items);
    required("n", n);
    const std::vector<std::int64_t>& next = required("search", search).search.next_items();
    *items = next.data();
    *n = next.size();
  });
}

wb_status wb_cur_search_observe(wb_cur_search* search, const float* scores, size_t n) {
  return guarded([&] {
    product("n", n, 1);
    required("search", search).search.observe({required_array("scores", scores, n), n});
  });
}

wb_status wb_cur_search_calls(const wb_cur_search* search, size_t* calls) {
  return guarded([&] { required("calls", calls) = required("search", search).search.calls(); });
}

wb_status wb_cur_search_top_k(const wb_cur_search* search, int64_t* ids, float* scores) {
  return guarded([&] {
    const wb_cur_search& from = required("search", search);
    check_results(1, from.k, ids, scores);
    std::vector<std::int64_t> best;
    std::vector<float> values;
    from.search.top_k(best, values);
    std::fill(std::copy(best.begin(), best.end(), ids), ids + from.k, std::int64_t{-1});
    std::fill(std::copy(values.begin(), values.end(), scores), scores + from.k,
              -std::numeric_limits<float>::infinity());
  });
}

}  // extern "C"
