// MaxSim over arrays and over a TokenStore, the store, and ball carving.
#include "module.hpp"

#include <algorithm>
#include <string>

#include "arrays.hpp"
#include "names.hpp"
#include "progress.hpp"
#include "whimbrel/ball_carving.hpp"
#include "whimbrel/maxsim.hpp"

namespace whimbrel::python {
namespace {

using Floats = Array<float>;
using Ints = Array<std::int64_t>;

MaxSimParams make_params(bool normalize, std::size_t threads) {
  return {normalize, threads, make_progress(py::none())};
}

template <class Docs>
Floats score_all(const RaggedView& queries, const Docs& docs, std::size_t n_docs,
                 const MaxSimParams& params) {
  auto scores = empty_matrix<float>(queries.size(), n_docs);
  const auto out = as_output(scores);
  const py::gil_scoped_release nogil;
  maxsim_matrix(queries, docs, params, out.data());
  return scores;
}

template <class Docs>
Floats score_lists(const RaggedView& queries, const Docs& docs, const DocumentLists& lists,
                   const MaxSimParams& params) {
  auto scores = empty_vector<float>(lists.ids.size());
  const auto out = as_output(scores);
  const py::gil_scoped_release nogil;
  maxsim_lists(queries, docs, lists, params, out.data());
  return scores;
}

Floats bound_matrix(const Floats& queries, const Ints& query_offsets, const Floats& docs,
                    const Ints& doc_offsets, bool normalize, std::size_t threads) {
  const RaggedView sets = as_ragged(docs, doc_offsets);
  return score_all(as_ragged(queries, query_offsets), sets, sets.size(), make_params(normalize, threads));
}

Floats bound_lists(const Floats& queries, const Ints& query_offsets, const Floats& docs,
                   const Ints& doc_offsets, const Ints& list_offsets, const Ints& ids, bool normalize,
                   std::size_t threads) {
  return score_lists(as_ragged(queries, query_offsets), as_ragged(docs, doc_offsets),
                     {as_vector(list_offsets), as_vector(ids)}, make_params(normalize, threads));
}

template <class Fn>
auto without_gil(const Fn& fn) {
  const py::gil_scoped_release nogil;
  return fn();
}

py::tuple bound_ball_carving(const Floats& queries, const Ints& offsets, float threshold,
                             std::size_t threads) {
  const RaggedView sets = as_ragged(queries, offsets);
  const RaggedVectors carved = without_gil([&] { return ball_carving(sets, threshold, threads); });
  auto tokens = empty_matrix<float>(carved.tokens.size() / sets.dim(), sets.dim());
  std::copy(carved.tokens.begin(), carved.tokens.end(), as_output(tokens).begin());
  return py::make_tuple(tokens, to_array(carved.offsets));
}

void bound_check_ragged(const std::string& name, const Floats& tokens, const Ints& offsets,
                        std::size_t threads) {
  const RaggedView sets = as_ragged(tokens, offsets);
  without_gil([&] { check_ragged(name, sets, threads); });
}

void add(TokenStore& self, const Floats& tokens, const Ints& offsets, std::size_t threads) {
  const RaggedView docs = as_ragged(tokens, offsets);
  without_gil([&] { self.add(docs, threads); });
}

Floats get(const TokenStore& self, std::size_t doc) {
  auto tokens = empty_matrix<float>(without_gil([&] { return self.length(doc); }), self.dim());
  const auto out = as_output(tokens);
  without_gil([&] { self.get(doc, out.data()); });
  return tokens;
}

Floats store_matrix(const TokenStore& self, const Floats& queries, const Ints& query_offsets, bool normalize,
                    std::size_t threads) {
  const std::size_t n = without_gil([&] { return self.size(); });
  return score_all(as_ragged(queries, query_offsets), self, n, make_params(normalize, threads));
}

Floats store_lists(const TokenStore& self, const Floats& queries, const Ints& query_offsets,
                   const Ints& list_offsets, const Ints& ids, bool normalize, std::size_t threads) {
  return score_lists(as_ragged(queries, query_offsets), self, {as_vector(list_offsets), as_vector(ids)},
                     make_params(normalize, threads));
}

}  // namespace

void register_maxsim(py::module_& m) {
  m.def("maxsim_matrix", &bound_matrix, py::arg("queries").noconvert(), py::arg("query_offsets").noconvert(),
        py::arg("docs").noconvert(), py::arg("doc_offsets").noconvert(), py::arg("normalize"),
        py::arg("threads"), "See whimbrel.maxsim_matrix.");
  m.def("maxsim_lists", &bound_lists, py::arg("queries").noconvert(), py::arg("query_offsets").noconvert(),
        py::arg("docs").noconvert(), py::arg("doc_offsets").noconvert(), py::arg("list_offsets").noconvert(),
        py::arg("ids").noconvert(), py::arg("normalize"), py::arg("threads"), "See whimbrel.maxsim_pairs.");
  m.def("check_ragged", &bound_check_ragged, py::arg("name"), py::arg("tokens").noconvert(),
        py::arg("offsets").noconvert(), py::arg("threads"), "Errors of sets, before they go to an encoder.");
  m.def("ball_carving", &bound_ball_carving, py::arg("queries").noconvert(), py::arg("offsets").noconvert(),
        py::arg("threshold"), py::arg("threads"), "See whimbrel.ball_carving.");
  py::class_<TokenStore>(m, "TokenStore", "See whimbrel.TokenStore.")
      .def(py::init([](std::size_t dim, const std::string& dtype) {
             return TokenStore(dim, token_type_from_name(dtype));
           }),
           py::arg("dim"), py::arg("dtype"))
      .def("add", &add, py::arg("tokens").noconvert(), py::arg("offsets").noconvert(), py::arg("threads"))
      .def("get", &get, py::arg("doc"))
      .def("maxsim_matrix", &store_matrix, py::arg("queries").noconvert(),
           py::arg("query_offsets").noconvert(), py::arg("normalize"), py::arg("threads"))
      .def("maxsim_lists", &store_lists, py::arg("queries").noconvert(), py::arg("query_offsets").noconvert(),
           py::arg("list_offsets").noconvert(), py::arg("ids").noconvert(), py::arg("normalize"),
           py::arg("threads"))
      .def("dim", [](const TokenStore& self) { return self.dim(); })
      .def("dtype", [](const TokenStore& self) { return token_type_name(self.type()); })
      .def("size", [](const TokenStore& self) { return without_gil([&] { return self.size(); }); })
      .def("n_tokens", [](const TokenStore& self) { return without_gil([&] { return self.n_tokens(); }); })
      .def("memory_usage",
           [](const TokenStore& self) { return without_gil([&] { return self.memory_usage(); }); });
}

}  // namespace whimbrel::python
