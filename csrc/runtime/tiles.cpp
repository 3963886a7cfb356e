// Indexes the tile table once.
#include "runtime/tiles.h"

#include <unordered_map>

#include "base/cpu_info.h"

namespace tiercel {

namespace {

using Index = std::unordered_map<std::string, const TclTile*>;

std::string key_of(std::string_view domain, std::string_view op, std::string_view types) {
  std::string key(domain);
  key.append("/").append(op).append("/").append(types);
  return key;
}

Index build_index() {
  Index index;
  const TclKernelLibrary* library = tcl_builtin_kernels();
  for (int64_t i = 0; i < library->n_tiles; ++i) {
    const TclTile& tile = library->tiles[i];
    const int rank = isa_rank(tile.isa);
    if (rank < 0) continue;
    const TclTile*& best = index[key_of(tile.domain, tile.op, tile.types)];
    if (!best || rank < isa_rank(best->isa)) best = &tile;
  }
  return index;
}

}  // namespace

DType widened(DType dtype) {
  switch (dtype) {
    case DType::Float16:
    case DType::BFloat16:
    case DType::Float8E4M3FN:
    case DType::Float8E4M3FNUZ:
    case DType::Float8E5M2:
    case DType::Float8E5M2FNUZ:
    case DType::Float8E8M0:
    case DType::Float6E2M3:
    case DType::Float6E3M2:
    case DType::Float4E2M1:
      return DType::Float;
    case DType::Int4:
    case DType::Int2:
      return DType::Int8;
    case DType::UInt4:
    case DType::UInt2:
      return DType::UInt8;
    default:
      return dtype;
  }
}

const TclTile* find_tile(std::string_view domain, std::string_view op, const std::string& types) {
  static const Index index = build_index();
  const auto found = index.find(key_of(domain, op, types));
  return found == index.end() ? nullptr : found->second;
}

}  // namespace tiercel
