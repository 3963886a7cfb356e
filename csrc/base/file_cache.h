// A folder of files that can be made again, by the hash of what they are made of.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace tiercel {

// Only the user may look into the folder (0700). Whatever goes wrong, a file is not there: it is
// made again.
class FileCache {
 public:
  // Makes the folder where it is missing. One that belongs to somebody else, or that others may
  // look into, is not used; nor is the empty path.
  explicit FileCache(const std::string& path);
  ~FileCache();
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  // What was kept under a name; nullopt: nothing, or no longer as it was written.
  [[nodiscard]] std::optional<std::string> get(const std::string& name) const;
  // Readers see the old file or the new one, whole.
  void put(const std::string& name, std::string_view bytes) const;

 private:
  int folder_ = -1;  // descriptor; -1: nothing is kept
};

// Where caches of `kind` lie: $XDG_CACHE_HOME/tiercel/KIND or ~/.cache/tiercel/KIND; empty where
// the user has no folder.
[[nodiscard]] std::string cache_folder(std::string_view kind);

}  // namespace tiercel
