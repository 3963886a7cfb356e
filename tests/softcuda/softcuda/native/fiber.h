// Stacks and the switch between them: what a CUDA thread needs to wait in the middle of its code.
#pragma once
#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#error "the software device switches stacks by x86-64 code"
#endif

namespace softcuda {

// Saves the caller's stack pointer to `save` and goes on where `load` was saved.
extern "C" void softcuda_switch(void** save, void* load);

// One stack for each thread of a block, kept for later launches.
class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks();

  void reserve(uint32_t count);
  // A stack pointer that begins `entry` when switched to.
  [[nodiscard]] void* start(uint32_t index, void (*entry)()) const;
  // The lowest word was never touched.
  [[nodiscard]] bool intact(uint32_t index) const;

 private:
  char* base_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace softcuda
