// Index files of hnswlib (https://github.com/nmslib/hnswlib, version 0.8), in and out; their layout is in
// cpp/FORMAT.md, "Files of hnswlib". They have no magic, no version and no checksum, so that everything in
// them is distrusted.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/file_io.hpp"
#include "base/hooks.hpp"
#include "base/vectors.hpp"
#include "hnsw/impl.hpp"
#include "hnsw/loaded_graph.hpp"
#include "hnsw/rows.hpp"
#include "whimbrel/errors.hpp"

namespace whimbrel {
namespace {

/// The beginning of the file, byte for byte.
struct Header {
  std::uint64_t level0_offset, max_elements, size, element_size, label_offset, vector_offset;
  std::int32_t max_level;
  std::uint32_t entry;
  std::uint64_t max_M, max_M0, M;
  double level_scale;
  std::uint64_t ef_construction;
};
static_assert(sizeof(Header) == 96);

/// Of the word before a list: the number of links, and in the first list of an element whether it is removed.
constexpr std::uint32_t kCount = 0xffff, kRemoved = 0x10000;

/// Lengths of the parts of a file.
struct Layout {
  Layout(std::uint64_t dim, std::uint64_t M)
      : vector_offset((1 + 2 * M) * 4),
        label_offset(vector_offset + dim * 4),
        element_size(label_offset + 8),
        list_size((1 + M) * 4) {}
  std::uint64_t vector_offset, label_offset, element_size, list_size;
};

[[noreturn]] void refuse(const std::string& expected) {
  throw FormatError("file: expected " + expected + "; is it a file of hnswlib, of this dim and metric?");
}

void expect(const char* what, std::uint64_t got, std::uint64_t wanted) {
  if (got != wanted)
    refuse(std::string(what) + " " + std::to_string(wanted) + ", got " + std::to_string(got));
}

constexpr std::uint64_t kMaxLabel = std::numeric_limits<std::int64_t>::max();

class Import {
 public:
  Import(const ByteSource& source, std::size_t dim, Metric metric) : source_(source) {
    HnswParams params;
    params.metric = metric;
    check_params(dim, params);  // what is the caller's
    read(&header_, sizeof header_);
    check_header(dim);
    params.M = static_cast<std::uint32_t>(header_.M);
    params.ef_construction = static_cast<std::uint32_t>(header_.ef_construction);
    check_params(dim, params);
    impl_ = std::make_unique<HnswIndex::Impl>(dim, params);
  }

  std::unique_ptr<HnswIndex::Impl> run() {
    read_elements();
    read_upper_lists();
    if (char byte; source_(&byte, 1) != 0) refuse("the end of the file, got more bytes");
    Graph& g = impl_->graph;
    if (header_.size > 0) {
      g.entry = header_.entry;
      g.max_level = static_cast<std::size_t>(header_.max_level);
    }
    check_graph(g);
    if (removed_ == header_.size) {  // nothing to begin a search with
      return std::make_unique<HnswIndex::Impl>(g.dim, g.params);
    }
    take_labels();
    find_live(*impl_);
    return std::move(impl_);
  }

 private:
  void read(void* out, std::size_t size) {
    for (auto* p = static_cast<char*>(out); size > 0;) {
      check_stop();
      const std::size_t n = source_(p, size);
      if (n > size)
        throw std::invalid_argument("source: expected at most " + std::to_string(size) + " bytes, got " +
                                    std::to_string(n));
      if (n == 0) refuse(std::to_string(size) + " more bytes, got the end: it is truncated");
      p += n;
      size -= n;
    }
  }

  void check_header(std::size_t dim) const {
    const Header& h = header_;
    if (h.M < 2 || h.M > kMaxM) refuse("M of 2 to " + std::to_string(kMaxM) + ", got " + std::to_string(h.M));
    expect("links on upper levels", h.max_M, h.M);
    expect("links on level 0", h.max_M0, 2 * h.M);
    const Layout layout(dim, h.M);
    expect("lists at", h.level0_offset, 0);
    expect("vectors at", h.vector_offset, layout.vector_offset);
    expect("labels at", h.label_offset, layout.label_offset);
    expect("elements of bytes", h.element_size, layout.element_size);
    if (h.ef_construction < 1 || h.ef_construction > kMaxEf)
      refuse("ef_construction of 1 to " + std::to_string(kMaxEf) + ", got " +
             std::to_string(h.ef_construction));
    if (!(h.level_scale > 0) || !std::isfinite(h.level_scale)) refuse("a scale of levels above 0");
    if (h.size > kMaxNodes || h.size > h.max_elements)
      refuse("at most 2^31 - 2 elements, and as many as it has room for");
    if (h.size == 0) return;
    if (h.entry >= h.size) refuse("an element to enter by");
    if (h.max_level < 0 || static_cast<std::size_t>(h.max_level) > kMaxLevel) refuse("levels up to 63");
  }

  /// Links of a list, each once and none to the element itself: hnswlib may leave such ones after updates,
  /// and they lead nowhere new. What is behind them in the file is left over.
  void put_list(const char* from, std::uint32_t node, std::uint32_t* list, std::size_t capacity) const {
    std::uint32_t word;
    std::memcpy(&word, from, sizeof word);
    const std::size_t n = word & kCount;
    if (n > capacity) refuse("at most " + std::to_string(capacity) + " links, got " + std::to_string(n));
    std::size_t kept = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::uint32_t other;
      std::memcpy(&other, from + (1 + i) * sizeof other, sizeof other);
      if (other >= header_.size) refuse("links to elements, got " + std::to_string(other));
      if (other != node && std::find(list, list + kept, other) == list + kept) list[kept++] = other;
    }
    std::fill(list + kept, list + capacity, kNoNode);
  }

  /// Memory grows with what was really read, here and below.
  void read_elements() {
    Graph& g = impl_->graph;
    const std::size_t n = header_.size;
    const std::size_t step = std::max<std::size_t>(1, (std::size_t{1} << 20) / header_.element_size);
    std::vector<char> element(header_.element_size);
    std::vector<float> row(g.dim);
    for (std::size_t i = 0; i < n; ++i) {
      if (i % step == 0) {
        g.vectors.resize(std::min(n, i + step), n);
        g.links0.resize(std::min(n, i + step), n);
      }
      read(element.data(), element.size());
      const auto node = static_cast<std::uint32_t>(i);
      put_list(element.data(), node, g.links0.row(i), g.links0.stride());
      std::uint32_t word;
      std::memcpy(&word, element.data(), sizeof word);
      if ((word & ~(kCount | kRemoved)) != 0) refuse("elements that are removed or not");
      std::uint64_t label;
      std::memcpy(&label, element.data() + header_.label_offset, sizeof label);
      if (label > kMaxLabel) refuse("labels below 2^63, got " + std::to_string(label));
      labels_.push_back(static_cast<std::int64_t>(label));
      is_removed_.push_back((word & kRemoved) != 0);
      removed_ += is_removed_.back();
      std::memcpy(row.data(), element.data() + header_.vector_offset, g.dim * sizeof(float));
      check_row(row.data(), i);
      std::fill(std::copy(row.begin(), row.end(), g.vectors.row(i)), g.vectors.row(i) + g.vectors.stride(),
                0.0f);
    }
  }

  /// Rows are kept as they are, for cosine too: the distances of the file.
  void check_row(const float* row, std::size_t i) const {
    if (!std::all_of(row, row + impl_->graph.dim, [](float x) { return std::isfinite(x); }))
      refuse("finite vectors, got another one in element " + std::to_string(i));
    constexpr double kSlack = 2e-3;  // rows that were float16 once
    if (impl_->graph.params.metric == Metric::kCosine && !is_normalized(row, impl_->graph.dim, kSlack))
      refuse("vectors of length 1 for cosine, got another one in element " + std::to_string(i));
  }

  void read_upper_lists() {
    Graph& g = impl_->graph;
    const std::size_t n = header_.size;
    const Layout layout(g.dim, header_.M);
    std::vector<char> list(layout.list_size);
    for (std::size_t i = 0; i < n; ++i) {
      std::uint32_t bytes;
      read(&bytes, sizeof bytes);
      const std::size_t level = bytes / layout.list_size;
      if (bytes % layout.list_size != 0 || level > kMaxLevel) refuse("whole lists of up to 63 levels");
      g.level.resize(i + 1, n);
      g.upper_begin.resize(i + 1, n);
      g.level[i] = static_cast<std::uint8_t>(level);
      const std::size_t first = g.upper_links.size();
      if (first + level > kMaxNodes) refuse("at most 2^31 - 2 lists of upper levels");
      g.upper_begin[i] = static_cast<std::uint32_t>(first);
      g.upper_links.resize(first + level);
      for (std::size_t l = 0; l < level; ++l) {
        read(list.data(), list.size());
        put_list(list.data(), static_cast<std::uint32_t>(i), g.upper_links.row(first + l),
                 g.upper_links.stride());
      }
    }
  }

  void take_labels() {
    bool row_numbers = removed_ == 0;
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      if (is_removed_[i]) labels_[i] = -1;
      row_numbers = row_numbers && labels_[i] == static_cast<std::int64_t>(i);
    }
    if (row_numbers) return impl_->ids.append(impl_->ids.name(labels_.size(), {}));
    try {
      impl_->ids.restore(labels_, false, 0);
    } catch (const std::invalid_argument& e) {
      throw FormatError(std::string("file: ") + e.what());
    }
  }

  const ByteSource& source_;
  Header header_{};
  std::unique_ptr<HnswIndex::Impl> impl_;
  CountedVector<std::int64_t> labels_;
  std::vector<bool> is_removed_;
  std::size_t removed_ = 0;
};

void put_list(const std::uint32_t* list, std::size_t degree, std::uint32_t flags, char* out) {
  const std::uint32_t word = static_cast<std::uint32_t>(degree) | flags;
  std::memcpy(out, &word, sizeof word);
  std::memcpy(out + sizeof word, list, degree * sizeof *list);
}

}  // namespace

HnswIndex HnswIndex::from_hnswlib(const ByteSource& source, std::size_t dim, Metric metric) {
  return HnswIndex(Import(source, dim, metric).run());
}

HnswIndex HnswIndex::from_hnswlib(const std::string& path, std::size_t dim, Metric metric) {
  std::unique_ptr<HnswIndex> index;
  read_file(path, [&](const ByteSource& source) {
    index = std::make_unique<HnswIndex>(from_hnswlib(source, dim, metric));
  });
  return std::move(*index);
}

void HnswIndex::to_hnswlib(const ByteSink& sink) const {
  const auto lock = impl_->mutex.read();
  const Graph& g = impl_->graph;
  if (g.measured_once() || g.only_codes())
    throw std::invalid_argument("index: expected float32 or float16 vectors by l2, ip or cosine for hnswlib");
  if (impl_->file) impl_->file->verify();
  const Layout layout(g.dim, g.params.M);
  Header header{};
  header.size = g.size();
  header.max_elements = std::max<std::uint64_t>(1, g.size());
  header.element_size = layout.element_size;
  header.label_offset = layout.label_offset;
  header.vector_offset = layout.vector_offset;
  header.max_level = g.size() == 0 ? -1 : static_cast<std::int32_t>(g.max_level);
  header.entry = g.entry;
  header.max_M = header.M = g.params.M;
  header.max_M0 = 2 * std::uint64_t{g.params.M};
  header.level_scale = 1 / std::log(static_cast<double>(g.params.M));
  header.ef_construction = g.params.ef_construction;
  sink(&header, sizeof header);

  // Removed rows go on leading to others. Their labels are those behind the last.
  std::uint64_t unused = 0;
  g.live.for_each([&](std::uint32_t row) {
    unused = std::max(unused, static_cast<std::uint64_t>(impl_->ids.id(row)) + 1);
  });
  if (unused + (g.size() - g.live.count()) > kMaxLabel + 1)
    throw std::invalid_argument("ids: expected room for labels of removed points behind the largest, got " +
                                std::to_string(unused - 1));
  std::vector<char> element(layout.element_size);
  std::vector<float> scratch(g.padded_dim());
  for (std::uint32_t row = 0; row < g.size(); ++row) {
    check_stop();
    const bool removed = !g.live.contains(row);
    std::fill(element.begin(), element.end(), '\0');
    put_list(g.links(row, 0), g.degree(row, 0), removed ? kRemoved : 0, element.data());
    const std::uint64_t label = removed ? unused++ : static_cast<std::uint64_t>(impl_->ids.id(row));
    const float* vector = caller_row(g, row, scratch.data());
    check_still_finite(vector, g.dim, row);
    std::memcpy(element.data() + layout.vector_offset, vector, g.dim * sizeof(float));
    std::memcpy(element.data() + layout.label_offset, &label, sizeof label);
    sink(element.data(), element.size());
  }
  std::vector<char> list(layout.list_size);
  for (std::uint32_t row = 0; row < g.size(); ++row) {
    const auto bytes = static_cast<std::uint32_t>(g.level[row] * layout.list_size);
    sink(&bytes, sizeof bytes);
    for (std::size_t l = 1; l <= g.level[row]; ++l) {
      std::fill(list.begin(), list.end(), '\0');
      put_list(g.links(row, l), g.degree(row, l), 0, list.data());
      sink(list.data(), list.size());
    }
  }
}

void HnswIndex::to_hnswlib(const std::string& path) const {
  write_file_atomically(path, [&](const ByteSink& sink) { to_hnswlib(sink); });
}

}  // namespace whimbrel
