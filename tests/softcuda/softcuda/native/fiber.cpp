// The switch between stacks, and the memory they stand in.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

asm(R"(
.text
.globl softcuda_switch
.hidden softcuda_switch
.type softcuda_switch,@function
softcuda_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size softcuda_switch,.-softcuda_switch
)");

namespace softcuda {
namespace {

// Stack tops fall into different sets of the first cache.
constexpr size_t kStack = 128 * 1024, kStride = kStack + 64 * 9;

}  // namespace

Stacks::~Stacks() {
  if (base_) munmap(base_, count_ * kStride);
}

void Stacks::reserve(uint32_t count) {
  if (count <= count_) return;
  if (base_) munmap(base_, count_ * kStride);
  void* p = mmap(nullptr, count * kStride, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
  base_ = static_cast<char*>(p);
  count_ = count;
}

void* Stacks::start(uint32_t index, void (*entry)()) const {
  const auto top = reinterpret_cast<uintptr_t>(base_ + (index + 1) * kStride) & ~uintptr_t{63};
  auto* s = reinterpret_cast<void**>(top);
  *--s = nullptr;  // where entry would return to
  *--s = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--s = nullptr;
  return s;
}

bool Stacks::intact(uint32_t index) const {
  uint64_t lowest = 0;
  std::memcpy(&lowest, base_ + index * kStride, sizeof lowest);
  return lowest == 0;
}

}  // namespace softcuda
