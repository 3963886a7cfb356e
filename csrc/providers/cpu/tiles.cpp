// Indexes the tile table once.
#include "providers/cpu/tiles.h"

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

const TclTile* find_tile(std::string_view domain, std::string_view op, const std::string& types) {
  static const Index index = build_index();
  const auto found = index.find(key_of(domain, op, types));
  return found == index.end() ? nullptr : found->second;
}

}  // namespace tiercel
