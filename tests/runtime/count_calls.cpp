// Counts allocations and locks of the program that it is linked into, while `counting` is set.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstddef>

extern "C" void* __libc_malloc(size_t bytes);
extern "C" void* __libc_memalign(size_t alignment, size_t bytes);

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};
std::atomic<long> locks{0};

extern "C" void* malloc(size_t bytes) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  return __libc_malloc(bytes);
}

extern "C" void* aligned_alloc(size_t alignment, size_t bytes) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  return __libc_memalign(alignment, bytes);
}

extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const auto real = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  if (counting.load(std::memory_order_relaxed)) locks.fetch_add(1);
  return real(mutex);
}
