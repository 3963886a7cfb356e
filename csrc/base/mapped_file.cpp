// Maps files with mmap.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>

#include "base/descriptor.h"
#include "base/error.h"

namespace tiercel {

namespace {

// Where files are mapped. Never destroyed: a mapping may outlive everything else.
struct Mappings {
  std::mutex mutex;
  std::map<const std::byte*, size_t> sizes;
};

Mappings& mappings() {
  static Mappings* const all = new Mappings;
  return *all;
}

}  // namespace

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  // Without O_NONBLOCK a named pipe would keep us waiting for a writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) {
    throw_error(ErrorKind::NoSuchFile, "Load model from ", path, " failed: ", std::strerror(errno),
                ". File doesn't exist or cannot be read");
  }
  struct stat info{};
  if (::fstat(file.number, &info) != 0 || !S_ISREG(info.st_mode)) {
    throw_error(ErrorKind::NoSuchFile, "Load model from ", path, " failed: it is not a file");
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::shared_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) {
    throw_error(ErrorKind::Fail, "cannot map ", path, " into memory: ", std::strerror(errno));
  }
  const std::scoped_lock lock(mappings().mutex);
  mappings().sizes[static_cast<const std::byte*>(data)] = size;
  return std::shared_ptr<MappedFile>(new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (!data_) return;
  const std::scoped_lock lock(mappings().mutex);
  mappings().sizes.erase(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> bytes) {
  const std::scoped_lock lock(mappings().mutex);
  auto found = mappings().sizes.upper_bound(bytes.data());
  if (found == mappings().sizes.begin()) return;
  --found;
  if (bytes.data() + bytes.size() > found->first + found->second) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace tiercel
