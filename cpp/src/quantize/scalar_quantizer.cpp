#include "quantize/scalar_quantizer.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/dispatch.hpp"

namespace whimbrel {
namespace {

/// Of the codes.
float middle_code(const ScalarQuantizer& quantizer) {
  return static_cast<float>(quantizer.layout().highest()) / 2;
}

}  // namespace

ScalarQuantizer::Scratch::Scratch(const ScalarQuantizer& quantizer)
    : centered(quantizer.dim),
      values(std::max(quantizer.dim, quantizer.padded_dim())),
      query(quantizer.layout().value_bytes(quantizer.code_bytes())) {}

void ScalarQuantizer::project(const float* vector, bool centered, Scratch& scratch) const {
  float* const values = scratch.values.data();
  float* const in = columns.empty() ? values : scratch.centered.data();
  for (std::size_t j = 0; j < dim; ++j) in[j] = centered ? vector[j] - center[j] : vector[j];
  if (!columns.empty()) {
    std::fill_n(values, padded_dim(), 0.0f);
    kernels::active_table().project(in, dim, columns.data(), padded_dim(), values);
  }
  if (centered)
    for (std::size_t c = 0; c < code_dim; ++c) values[c] -= middle[c];
}

void ScalarQuantizer::encode(const float* row, Scratch& scratch, std::uint8_t* out) const {
  project(row, true, scratch);
  const CodeLayout codes = layout();
  const float inverse = 1 / step, middle_level = middle_code(*this);
  const auto highest = static_cast<float>(codes.highest());
  const auto quantized = [&](std::size_t c) {
    const float level = scratch.values[c] * inverse + middle_level;
    const float inside = level > 0 ? (level < highest ? level : highest) : 0.0f;  // NaN: 0
    const float rounded = inside + 0.5f;
    const auto code = static_cast<std::uint8_t>(rounded);
    scratch.values[c] = step * (static_cast<float>(code) - middle_level);
    return code;
  };
  std::fill_n(out, stride(), std::uint8_t{0});
  if (codes.nibbles())
    for (std::size_t c = 0; c < code_dim; ++c) codes.put(out, c, quantized(c));
  else
    for (std::size_t c = 0; c < code_dim; ++c) out[c] = quantized(c);
  if (!has_tail) return;
  const float tail =
      -kernels::active_table().ip.canonical(scratch.values.data(), scratch.values.data(), code_dim);
  __builtin_memcpy(out + stride() - sizeof tail, &tail, sizeof tail);
}

void ScalarQuantizer::decode(const std::uint8_t* code, float* out) const {
  const auto value = [&, codes = layout(), middle_level = middle_code(*this)](std::size_t c) {
    return step * (static_cast<float>(codes.at(code, c)) - middle_level) + middle[c];
  };
  if (columns.empty()) {
    for (std::size_t j = 0; j < dim; ++j) out[j] = center[j] + value(j);
    return;
  }
  constexpr std::size_t kGroup = 64;  // in place of an allocation for all of them
  float values[kGroup];
  const kernels::PairKernel ip = kernels::active_table().ip.canonical;  // negated
  std::copy_n(center.begin(), dim, out);
  for (std::size_t begin = 0; begin < code_dim; begin += kGroup) {
    const std::size_t n = std::min(kGroup, code_dim - begin);
    for (std::size_t c = 0; c < n; ++c) values[c] = value(begin + c);
    for (std::size_t j = 0; j < dim; ++j) out[j] -= ip(columns.data() + j * padded_dim() + begin, values, n);
  }
}

std::vector<double> ScalarQuantizer::origin() const {
  std::vector<double> out(code_dim);
  for (std::size_t c = 0; c < code_dim; ++c) {
    double projected = columns.empty() ? center[c] : 0;
    for (std::size_t j = 0; !columns.empty() && j < dim; ++j)
      projected += static_cast<double>(columns[j * padded_dim() + c]) * center[j];
    out[c] = (projected + middle[c]) / step + 0.5;
  }
  return out;
}

kernels::CodeQuery ScalarQuantizer::encode_query(const float* query, Scratch& scratch) const {
  project(query, has_tail, scratch);
  float largest = 0;
  for (std::size_t c = 0; c < code_dim; ++c) largest = std::max(largest, std::abs(scratch.values[c]));
  const float unit = std::min(largest / 127, FLT_MAX / 127);
  const float inverse = unit > FLT_MIN ? 1 / unit : 0.0f;
  const float* const values = scratch.values.data();
  const CodeLayout codes = layout();
  std::int8_t* const out = scratch.query.data();
  const auto quantized = [&](std::size_t c) {
    const float level = values[c] * inverse;
    return std::abs(level) < 127.5f ? static_cast<std::int8_t>(level + (level < 0 ? -0.5f : 0.5f))
                                    : std::int8_t{0};
  };
  if (codes.nibbles())
    for (std::size_t c = 0; c < code_dim; ++c) out[codes.value_of(c)] = quantized(c);
  else
    for (std::size_t c = 0, n = code_dim; c < n; ++c) out[c] = quantized(c);
  const float scale = (has_tail ? -2.0f : -1.0f) * step * unit;
  return {out, code_bytes(), std::clamp(scale, -FLT_MAX, 0.0f)};
}

}  // namespace whimbrel
