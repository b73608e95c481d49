// A token store as sections of a container.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/container.hpp"
#include "base/file_map.hpp"
#include "exact/token_rows.hpp"

namespace whimbrel {

/// OFFS, TOKS and, for int8, SCAL. The store must outlive the sections and not change.
void append_token_sections(const TokenStore::Impl& store, std::vector<SectionToWrite>& sections);

/// Fill an empty store of the right type with `n_docs` documents. With a map of the same file, its tokens
/// stay there. @throws FormatError
void read_token_sections(ContainerReader& reader, std::uint64_t n_docs,
                         const std::shared_ptr<const FileMap>& map, TokenStore::Impl& store);

}  // namespace whimbrel
