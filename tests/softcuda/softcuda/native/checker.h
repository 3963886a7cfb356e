// Finds races, reads of what nobody wrote and accesses outside of memory, access by access.
#pragma once
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device.h"

namespace softcuda {

// What is known of four neighbouring bytes: the last write and the last reads.
//
// Time is counted in epochs: a block's start and each of its barriers begin a new one. Inside an
// epoch, threads of one warp are ordered by the warp's own count of meetings.
struct Cell {
  uint32_t write_epoch = 0, read_epoch = 0;
  uint16_t writer = 0, reader = 0;  // see checker.cpp
  uint16_t write_meeting = 0, read_meeting = 0;
};

class Checker {
 public:
  Checker() = default;
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  ~Checker();

  // The allocation that holds an address, as {begin, end}.
  using Find = std::function<std::optional<std::pair<uint64_t, uint64_t>>(uint64_t)>;

  void set_window(const Window& window, Find find);
  void begin_launch();
  void begin_block(const Kernel& kernel, const Block& block, uint32_t warps);
  void barrier();
  void warp_meeting(uint32_t warp) { meetings_[warp]++; }
  void fence() { fenced_ = epoch_; }
  void set_initial_check(bool on) { initial_check_ = on; }

  // What is wrong with an access, or nothing. Shared addresses are offsets.
  std::string shared(const Thread& t, uint64_t offset, uint32_t bytes, Access access);
  std::string global(const Thread& t, uint64_t address, uint32_t bytes, Access access);
  // A copy into shared memory begins or ends; between the two nobody may touch the bytes.
  std::string copy_begins(const Thread& t, uint64_t offset, uint32_t bytes);
  void copy_ends(const Thread& t, uint64_t offset, uint32_t bytes);

 private:
  bool ordered(uint32_t epoch, uint32_t meeting, uint32_t index, const Thread& t) const;
  bool published(uint32_t epoch) const;
  std::string touch(Cell& cell, uint32_t mask, const Thread& t, Access access);
  std::string touch_all(Cell* cells, uint64_t at, uint32_t bytes, const Thread& t, Access access);
  bool allocated(uint64_t address, uint32_t bytes);
  void note_read(Cell& cell, uint32_t mask, const Thread& t);
  std::string shared_state(uint64_t offset, uint32_t bytes, Access access);

  uint32_t epoch_ = 1, block_start_ = 1, launch_start_ = 1, fenced_ = 0;
  uint32_t since_ = 1;  // accesses before this epoch do not count for the one being checked
  bool acquired_ = false, initial_check_ = true;
  struct Published {
    uint32_t start, until;
  };
  std::vector<Published> published_;
  std::vector<uint16_t> meetings_;
  std::vector<uint8_t> state_;  // of each byte of shared memory
  std::vector<Cell> shared_;
  Cell* global_ = nullptr;
  Window window_;
  Find find_;
  std::array<std::pair<uint64_t, uint64_t>, 8> found_{};
  size_t next_found_ = 0;
};

}  // namespace softcuda
