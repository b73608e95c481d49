// The names that Python uses for the core's enumerations.
#pragma once

#include <stdexcept>
#include <string>

#include "whimbrel/codec.hpp"
#include "whimbrel/cur.hpp"
#include "whimbrel/cur_search.hpp"
#include "whimbrel/fde.hpp"
#include "whimbrel/lid.hpp"
#include "whimbrel/metric.hpp"
#include "whimbrel/token_store.hpp"
#include "whimbrel/vectors_view.hpp"

namespace whimbrel::python {

/// Of the capsule in which _cuda hands a LevelLinker to _core: one build, so one layout.
inline constexpr const char* kLinkerCapsule = "whimbrel.LevelLinker";
inline constexpr const char* kPassesCapsule = "whimbrel.GreedyPasses";

inline Metric metric_from_name(const std::string& name) {
  if (name == "l2") return Metric::kL2;
  if (name == "ip") return Metric::kIp;
  if (name == "cosine") return Metric::kCosine;
  throw std::invalid_argument("metric: expected 'l2', 'ip' or 'cosine', got '" + name + "'");
}

inline const char* metric_name(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kIp:
      return "ip";
    case Metric::kCosine:
      return "cosine";
    case Metric::kUser:
      break;
  }
  throw std::invalid_argument("metric: expected a Metric");
}

inline VectorType vector_type_from_name(const std::string& name) {
  if (name == "float32") return VectorType::kFloat32;
  if (name == "int8") return VectorType::kInt8;
  if (name == "uint8") return VectorType::kUint8;
  throw std::invalid_argument("dtype: expected 'float32', 'int8' or 'uint8', got '" + name + "'");
}

inline const char* vector_type_name(VectorType type) {
  switch (type) {
    case VectorType::kFloat32:
      return "float32";
    case VectorType::kInt8:
      return "int8";
    case VectorType::kUint8:
      return "uint8";
  }
  throw std::invalid_argument("dtype: expected a VectorType");
}

inline Codec codec_from_name(const std::string& name) {
  if (name == "f32") return Codec::kF32;
  if (name == "sq8") return Codec::kSq8;
  if (name == "sq4") return Codec::kSq4;
  if (name == "auto") return Codec::kAuto;
  if (name == "f16") return Codec::kF16;
  throw std::invalid_argument("codec: expected 'f32', 'f16', 'sq8', 'sq4' or 'auto', got '" + name + "'");
}

inline const char* codec_name(Codec codec) {
  switch (codec) {
    case Codec::kF32:
      return "f32";
    case Codec::kSq8:
      return "sq8";
    case Codec::kSq4:
      return "sq4";
    case Codec::kAuto:
      return "auto";
    case Codec::kF16:
      return "f16";
  }
  throw std::invalid_argument("codec: expected a Codec");
}

inline Rerank rerank_from_name(const std::string& name) {
  if (name == "f32") return Rerank::kF32;
  if (name == "f16") return Rerank::kF16;
  if (name == "none") return Rerank::kNone;
  throw std::invalid_argument("rerank: expected 'f32', 'f16' or 'none', got '" + name + "'");
}

inline const char* rerank_name(Rerank rerank) {
  switch (rerank) {
    case Rerank::kF32:
      return "f32";
    case Rerank::kF16:
      return "f16";
    case Rerank::kNone:
      return "none";
  }
  throw std::invalid_argument("rerank: expected a Rerank");
}

inline TokenType token_type_from_name(const std::string& name) {
  if (name == "f32") return TokenType::kFloat32;
  if (name == "f16") return TokenType::kFloat16;
  if (name == "int8") return TokenType::kInt8;
  throw std::invalid_argument("dtype: expected 'f32', 'f16' or 'int8', got '" + name + "'");
}

inline const char* token_type_name(TokenType type) {
  switch (type) {
    case TokenType::kFloat32:
      return "f32";
    case TokenType::kFloat16:
      return "f16";
    case TokenType::kInt8:
      return "int8";
  }
  throw std::invalid_argument("dtype: expected a TokenType");
}

inline LidEstimator estimator_from_name(const std::string& name) {
  if (name == "mle") return LidEstimator::kMle;
  if (name == "levina_bickel") return LidEstimator::kLevinaBickel;
  if (name == "unbiased") return LidEstimator::kUnbiased;
  if (name == "mom") return LidEstimator::kMoments;
  throw std::invalid_argument("estimator: expected 'mle', 'levina_bickel', 'unbiased' or 'mom', got '" +
                              name + "'");
}

inline CurStorage cur_storage_from_name(const std::string& name) {
  if (name == "f32") return CurStorage::kFloat32;
  if (name == "f16") return CurStorage::kFloat16;
  if (name == "int8") return CurStorage::kInt8;
  throw std::invalid_argument("storage: expected 'f32', 'f16' or 'int8', got '" + name + "'");
}

inline const char* cur_storage_name(CurStorage storage) {
  return storage == CurStorage::kFloat32 ? "f32" : storage == CurStorage::kFloat16 ? "f16" : "int8";
}

inline AnchorRule anchor_rule_from_name(const std::string& name) {
  if (name == "random") return AnchorRule::kRandom;
  if (name == "top") return AnchorRule::kTop;
  if (name == "kmeans") return AnchorRule::kKMeans;
  if (name == "leverage") return AnchorRule::kLeverage;
  if (name == "l2_greedy") return AnchorRule::kL2Greedy;
  throw std::invalid_argument("rule: expected 'random', 'top', 'kmeans', 'leverage' or 'l2_greedy', got '" +
                              name + "'");
}

inline CurRule cur_rule_from_name(const std::string& name) {
  if (name == "top_k") return CurRule::kTopK;
  if (name == "softmax") return CurRule::kSoftmax;
  if (name == "uncertainty") return CurRule::kUncertainty;
  throw std::invalid_argument("rule: expected 'top_k', 'softmax' or 'uncertainty', got '" + name + "'");
}

inline FdeProjection projection_from_name(const std::string& name) {
  if (name == "identity") return FdeProjection::kIdentity;
  if (name == "sign") return FdeProjection::kSign;
  if (name == "count_sketch") return FdeProjection::kCountSketch;
  throw std::invalid_argument("projection: expected 'identity', 'sign' or 'count_sketch', got '" + name +
                              "'");
}

inline FdeMode fde_mode_from_name(const std::string& name) {
  if (name == "native") return FdeMode::kNative;
  if (name == "google") return FdeMode::kGoogle;
  throw std::invalid_argument("mode: expected 'native' or 'google', got '" + name + "'");
}

}  // namespace whimbrel::python
