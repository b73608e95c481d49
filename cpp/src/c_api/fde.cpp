// Fixed dimensional encodings in C.
#include "whimbrel/fde.hpp"

#include "c_api/boundary.hpp"

using namespace whimbrel::c_api;

struct wb_fde {
  whimbrel::FdeEncoder encoder;
};

namespace {

wb_status encode(const wb_fde* encoder, const wb_ragged& sets, const wb_run* run, bool documents,
                 float* encodings) noexcept {
  return guarded([&] {
    const whimbrel::FdeEncoder& fde = required("encoder", encoder).encoder;
    const whimbrel::RaggedView view = read_ragged(documents ? "documents" : "queries", sets);
    const Run how = read_run(run);
    const whimbrel::FdeOptions options{how.threads, how.progress};
    const whimbrel::FdeOutput out{
        .f32 = required_array("encodings", encodings, product("encodings", view.size(), fde.dim_out()))};
    documents ? fde.encode_documents(view, options, out) : fde.encode_queries(view, options, out);
  });
}

}  // namespace

extern "C" {

wb_status wb_fde_create(size_t dim, const wb_fde_options* options, wb_fde** encoder) {
  return guarded([&] {
    const wb_fde_options given = read_options("wb_fde_options", options);
    if (given.projection > WB_FDE_IDENTITY)
      throw std::invalid_argument("projection: expected a wb_fde_projection, got " +
                                  std::to_string(given.projection));
    using whimbrel::FdeProjection;
    constexpr FdeProjection kProjections[] = {FdeProjection::kCountSketch, FdeProjection::kSign,
                                              FdeProjection::kIdentity};
    whimbrel::FdeParams params;
    params.dim = dim;
    params.k_sim = given.k_sim == WB_FDE_NO_BITS ? 0 : or_default(given.k_sim, params.k_sim);
    params.r_reps = or_default(given.r_reps, params.r_reps);
    params.projection = kProjections[given.projection];
    params.d_proj = params.projection == FdeProjection::kIdentity
                        ? given.d_proj
                        : or_default(std::size_t{given.d_proj}, params.d_proj);
    params.d_final = given.d_final;
    params.seed = given.seed;
    params.fill_empty = given.leave_empty == 0;
    params.mode = given.google_mode != 0 ? whimbrel::FdeMode::kGoogle : whimbrel::FdeMode::kNative;
    required("encoder", encoder);
    *encoder = new wb_fde{whimbrel::FdeEncoder(params)};
  });
}

void wb_fde_free(wb_fde* encoder) { delete encoder; }

wb_status wb_fde_dim_out(const wb_fde* encoder, size_t* dim_out) {
  return guarded([&] { required("dim_out", dim_out) = required("encoder", encoder).encoder.dim_out(); });
}

wb_status wb_fde_encode_documents(const wb_fde* encoder, wb_ragged documents, const wb_run* run,
                                  float* encodings) {
  return encode(encoder, documents, run, true, encodings);
}

wb_status wb_fde_encode_queries(const wb_fde* encoder, wb_ragged queries, const wb_run* run,
                                float* encodings) {
  return encode(encoder, queries, run, false, encodings);
}

}  // extern "C"
