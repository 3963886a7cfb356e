// Maps files with mmap.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace tiercel {

namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

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
  return std::shared_ptr<MappedFile>(new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace tiercel
