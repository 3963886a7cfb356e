// Keeps files with a checksum in front of them, in a folder of the user's.
#include "base/file_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/sha256.h"

namespace tiercel {
namespace {

constexpr size_t kSum = 64;  // digits of the checksum

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Whether the folder is the user's, and nobody else's.
bool is_private(int folder) {
  struct stat info{};
  return ::fstat(folder, &info) == 0 && info.st_uid == ::geteuid() && (info.st_mode & 077) == 0;
}

}  // namespace

FileCache::FileCache(const std::string& path) {
  if (path.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  static_cast<void>(::mkdir(path.c_str(), 0700));
  folder_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder_ < 0 || is_private(folder_)) return;
  ::close(folder_);
  folder_ = -1;
}

FileCache::~FileCache() {
  if (folder_ >= 0) ::close(folder_);
}

std::optional<std::string> FileCache::get(const std::string& name) const {
  if (folder_ < 0) return std::nullopt;
  const Descriptor file{
      ::openat(folder_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)};
  struct stat info{};
  if (file.number < 0 || ::fstat(file.number, &info) != 0 || !S_ISREG(info.st_mode)) return {};
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::read(file.number, bytes.data() + have, bytes.size() - have);
    if (got <= 0) return std::nullopt;
    have += static_cast<size_t>(got);
  }
  if (bytes.size() < kSum) return std::nullopt;
  const std::string_view content = std::string_view(bytes).substr(kSum);
  if (sha256(content) != std::string_view(bytes).substr(0, kSum)) return std::nullopt;
  return std::string(content);
}

void FileCache::put(const std::string& name, std::string_view bytes) const {
  if (folder_ < 0) return;
  static std::atomic<int> count = 0;
  const std::string draft = concat(name, ".", ::getpid(), ".", count++);
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  bool whole = false;
  {
    const Descriptor file{::openat(folder_, draft.c_str(), flags, 0600)};
    whole =
        file.number >= 0 && write_all(file.number, sha256(bytes)) && write_all(file.number, bytes);
  }
  if (!whole || ::renameat(folder_, draft.c_str(), folder_, name.c_str()) != 0)
    static_cast<void>(::unlinkat(folder_, draft.c_str(), 0));
}

std::string cache_folder(std::string_view kind) {
  const char* caches = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (caches != nullptr && *caches == '/') return concat(caches, "/tiercel/", kind);
  return home != nullptr && *home == '/' ? concat(home, "/.cache/tiercel/", kind) : "";
}

}  // namespace tiercel
