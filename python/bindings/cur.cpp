// CurIndex and CurSearch. The GIL is released around every call of the core, short ones too: a call may wait
// for one of another thread that changes the index.
#include "module.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "files.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/cur.hpp"
#include "whimbrel/cur_greedy.hpp"
#include "whimbrel/cur_search.hpp"

namespace whimbrel::python {
namespace {

using Floats = Array<float>;
using OptionalFloats = std::optional<Floats>;
using Ids = Array<std::int64_t>;

MatrixView<const float> optional_matrix(const OptionalFloats& array) {
  return array ? as_matrix(*array) : MatrixView<const float>();
}

CurIndex fit(const Floats& anchor_scores, const OptionalFloats& first_stage, const std::string& storage,
             bool center, bool intercept, std::size_t rank, std::size_t threads, const py::object& progress) {
  CurParams params;
  params.storage = cur_storage_from_name(storage);
  params.center = center;
  params.intercept = intercept;
  params.rank = rank;
  params.threads = threads;
  params.progress = make_progress(progress);
  const auto scores = as_matrix(anchor_scores), first = optional_matrix(first_stage);
  const py::gil_scoped_release nogil;
  return CurIndex::fit(scores, params, first);
}

py::dict params_dict(const CurIndex& self) {
  const CurParams p = self.params();
  py::dict out;
  out["storage"] = cur_storage_name(p.storage);
  out["center"] = p.center;
  out["intercept"] = p.intercept;
  out["rank"] = p.rank;
  return out;
}

Floats approximate(const CurIndex& self, const Ids& item_ids, const Floats& scores,
                   const OptionalFloats& first_stage, double mu, std::size_t threads) {
  const auto ids = as_vector(item_ids);
  const auto known = as_matrix(scores), first = optional_matrix(first_stage);
  auto out = empty_matrix<float>(known.rows, without_gil([&] { return self.size(); }));
  const auto values = as_output(out);
  const py::gil_scoped_release nogil;
  self.approximate(ids, known, first, {mu, threads}, values);
  return out;
}

/// A function (queries, m) -> (ids, products) of Python, called without the GIL.
CurProposer make_proposer(const py::object& find, double largest_norm) {
  return {[&find](MatrixView<const float> queries, std::size_t m, std::int64_t* ids, float* products) {
            const py::gil_scoped_acquire gil;
            Floats array = empty_matrix<float>(queries.rows, queries.cols);
            std::copy_n(queries.data, queries.rows * queries.cols, as_output(array).data());
            const auto [found, values] = py::cast<std::pair<Ids, Floats>>(find(array, m));
            const auto found_ids = as_matrix(found);
            const auto found_products = as_matrix(values);
            if (found_ids.rows != queries.rows || found_ids.cols != m ||
                found_products.rows != queries.rows || found_products.cols != m)
              throw std::invalid_argument("find: expected ids and products of shape (" +
                                          std::to_string(queries.rows) + ", " + std::to_string(m) + ")");
            std::copy_n(found_ids.data, queries.rows * m, ids);
            std::copy_n(found_products.data, queries.rows * m, products);
          },
          largest_norm};
}

py::tuple retrieve(const CurIndex& self, const Ids& item_ids, const Floats& scores,
                   const OptionalFloats& first_stage, std::size_t k, bool exclude_scored, double mu,
                   std::size_t threads, const py::object& find, double largest_norm) {
  const CurProposer proposer = make_proposer(find, largest_norm);
  const auto given = as_vector(item_ids);
  const auto known = as_matrix(scores), first = optional_matrix(first_stage);
  auto ids = empty_matrix<std::int64_t>(known.rows, k);
  auto out = empty_matrix<float>(known.rows, k);
  {
    const auto ids_out = as_output(ids);
    const auto scores_out = as_output(out);
    const py::gil_scoped_release nogil;
    self.retrieve(given, known, first, k, exclude_scored, {mu, threads, find.is_none() ? nullptr : &proposer},
                  ids_out.data(), scores_out.data());
  }
  return py::make_tuple(ids, out);
}

/// @param passes  None, or a capsule of another module
Ids select_anchors(const CurIndex& self, std::size_t count, const std::string& rule, std::uint64_t seed,
                   std::size_t threads, const py::object& progress, const py::object& passes) {
  const AnchorRule kind = anchor_rule_from_name(rule);
  const ProgressFn report = make_progress(progress);
  GreedyPasses* theirs = nullptr;
  if (!passes.is_none()) {
    theirs = static_cast<GreedyPasses*>(PyCapsule_GetPointer(passes.ptr(), kPassesCapsule));
    if (theirs == nullptr) throw py::error_already_set();
  }
  return to_array(
      without_gil([&] { return self.select_anchors(count, kind, seed, threads, report, theirs); }));
}

Floats item_vectors(const CurIndex& self) {
  auto out = empty_matrix<float>(without_gil([&] { return self.size(); }),
                                 without_gil([&] { return self.dim(); }) + 1);
  const auto values = as_output(out);
  const py::gil_scoped_release nogil;
  self.item_vectors(values);
  return out;
}

void add_items(CurIndex& self, const Floats& scores, const OptionalFloats& first_stage) {
  const auto values = as_matrix(scores), first = optional_matrix(first_stage);
  const py::gil_scoped_release nogil;
  self.add_items(values, first);
}

void add_queries(CurIndex& self, const Floats& scores, const OptionalFloats& first_stage) {
  const auto values = as_matrix(scores), first = optional_matrix(first_stage);
  const py::gil_scoped_release nogil;
  self.add_queries(values, first);
}

void remove(CurIndex& self, const Ids& item_ids) {
  const auto ids = as_vector(item_ids);
  const py::gil_scoped_release nogil;
  self.remove(ids);
}

CurSearch make_search(const CurIndex& index, std::size_t k, std::size_t budget, std::size_t rounds,
                      double split, const std::string& rule, double temperature, double kappa, double mu,
                      std::uint64_t seed, std::size_t threads, const Ids& start,
                      const OptionalFloats& first_stage) {
  CurSearchParams params;
  params.k = k;
  params.budget = budget;
  params.rounds = rounds;
  params.split = split;
  params.rule = cur_rule_from_name(rule);
  params.temperature = temperature;
  params.kappa = kappa;
  params.mu = mu;
  params.seed = seed;
  params.threads = threads;
  const auto items = as_vector(start);
  const auto first = first_stage ? as_vector(*first_stage) : std::span<const float>();
  const py::gil_scoped_release nogil;
  return CurSearch(index, params, items, first);
}

void observe(CurSearch& self, const Floats& scores) {
  const auto values = as_vector(scores);
  const py::gil_scoped_release nogil;
  self.observe(values);
}

py::tuple top_k(const CurSearch& self) {
  std::vector<std::int64_t> ids;
  std::vector<float> scores;
  without_gil([&] { self.top_k(ids, scores); });
  return py::make_tuple(to_array(ids), to_array(scores));
}

py::tuple ledger(const CurSearch& self) {
  const auto ids = self.scored_items();
  const auto scores = self.scores();
  return py::make_tuple(to_array(std::vector(ids.begin(), ids.end())),
                        to_array(std::vector(scores.begin(), scores.end())));
}

}  // namespace

void register_cur(py::module_& m) {
  py::class_<CurIndex>(m, "CurIndex", "See whimbrel.CurIndex.")
      .def_static("fit", &fit, py::arg("anchor_scores").noconvert(),
                  py::arg("first_stage").noconvert().none(true), py::arg("storage"), py::arg("center"),
                  py::arg("intercept"), py::arg("rank"), py::arg("threads"), py::arg("progress"))
      .def("size", [](const CurIndex& self) { return without_gil([&] { return self.size(); }); })
      .def("n_removed", [](const CurIndex& self) { return without_gil([&] { return self.n_removed(); }); })
      .def("n_queries", [](const CurIndex& self) { return without_gil([&] { return self.n_queries(); }); })
      .def("dim", [](const CurIndex& self) { return without_gil([&] { return self.dim(); }); })
      .def("has_first_stage",
           [](const CurIndex& self) { return without_gil([&] { return self.has_first_stage(); }); })
      .def("params", &params_dict)
      .def("memory_usage",
           [](const CurIndex& self) { return without_gil([&] { return self.memory_usage(); }); })
      .def("item_means",
           [](const CurIndex& self) { return to_array(without_gil([&] { return self.item_means(); })); })
      .def("item_vectors", &item_vectors)
      .def(
          "singular_values",
          [](const CurIndex& self, std::size_t threads) {
            return to_array(without_gil([&] { return self.singular_values(threads); }));
          },
          py::arg("threads"))
      .def("approximate", &approximate, py::arg("item_ids").noconvert(), py::arg("scores").noconvert(),
           py::arg("first_stage").noconvert().none(true), py::arg("mu"), py::arg("threads"))
      .def("retrieve", &retrieve, py::arg("item_ids").noconvert(), py::arg("scores").noconvert(),
           py::arg("first_stage").noconvert().none(true), py::arg("k"), py::arg("exclude_scored"),
           py::arg("mu"), py::arg("threads"), py::arg("find"), py::arg("largest_norm"))
      .def("select_anchors", &select_anchors, py::arg("count"), py::arg("rule"), py::arg("seed"),
           py::arg("threads"), py::arg("progress"), py::arg("passes"))
      .def("add_items", &add_items, py::arg("scores").noconvert(),
           py::arg("first_stage").noconvert().none(true))
      .def("add_queries", &add_queries, py::arg("scores").noconvert(),
           py::arg("first_stage").noconvert().none(true))
      .def("remove", &remove, py::arg("item_ids").noconvert())
      .def("save_path", &save_path<CurIndex>, py::arg("path"))
      .def("save_file", &save_file<CurIndex>, py::arg("file"))
      .def("dumps", &dumps<CurIndex>)
      .def_static("load_path", &load_path<CurIndex>, py::arg("path"))
      .def_static("load_file", &load_file<CurIndex>, py::arg("file"))
      .def_static("loads", &loads<CurIndex>, py::arg("data"));

  py::class_<CurSearch>(m, "CurSearch", "See whimbrel.CurSearch.")
      .def(py::init(&make_search), py::keep_alive<1, 2>(), py::arg("index"), py::arg("k"), py::arg("budget"),
           py::arg("rounds"), py::arg("split"), py::arg("rule"), py::arg("temperature"), py::arg("kappa"),
           py::arg("mu"), py::arg("seed"), py::arg("threads"), py::arg("start").noconvert(),
           py::arg("first_stage").noconvert().none(true))
      .def("next_items",
           [](CurSearch& self) { return to_array(without_gil([&] { return self.next_items(); })); })
      .def(
          "next_items_among",
          [](CurSearch& self, const Ids& candidates) {
            const auto ids = as_vector(candidates);
            return to_array(without_gil([&] { return self.next_items(ids); }));
          },
          py::arg("candidates").noconvert())
      .def("query_vector",
           [](CurSearch& self) { return to_array(without_gil([&] { return self.query_vector(); })); })
      .def("observe", &observe, py::arg("scores").noconvert())
      .def("top_k", &top_k)
      .def("ledger", &ledger)
      .def("calls", &CurSearch::calls)
      .def(
          "estimated_recall",
          [](CurSearch& self, const Ids& candidates) {
            const auto ids = as_vector(candidates);
            return without_gil([&] { return self.estimated_recall(ids); });
          },
          py::arg("candidates").noconvert())
      .def("loo_error", [](CurSearch& self) { return without_gil([&] { return self.loo_error(); }); })
      .def("mu", &CurSearch::mu)
      .def("algebra_seconds", &CurSearch::algebra_seconds);
}

}  // namespace whimbrel::python
