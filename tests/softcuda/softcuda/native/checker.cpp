// Checks of single accesses: shadow cells beside shared and global memory.
#include "checker.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace softcuda {
namespace {

// writer: thread index in 10 bits, two flags, a mask of the four bytes.
constexpr uint16_t kThread = 0x3ff, kAtomicWrite = 0x400, kInFlight = 0x800;
// reader: thread index, which others read as well, the mask.
constexpr uint16_t kMany = 0xc00, kWarpReads = 0x400, kBlockReads = 0x800, kBlocksRead = 0xc00;
constexpr int kMaskShift = 12;

enum State : uint8_t { kGap, kUnwritten, kWritten };

constexpr uint32_t warp_of(uint32_t index) { return index / 32; }

}  // namespace

Checker::~Checker() {
  if (global_) munmap(global_, window_.size / 4 * sizeof(Cell));
}

void Checker::set_window(const Window& window, Find find) {
  window_ = window;
  find_ = std::move(find);
  void* p = mmap(nullptr, window.size / 4 * sizeof(Cell), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
  global_ = static_cast<Cell*>(p);
}

void Checker::begin_launch() {
  launch_start_ = ++epoch_;
  published_.clear();
  found_.fill({0, 0});
}

void Checker::begin_block(const Kernel& kernel, const Block& block, uint32_t warps) {
  block_start_ = ++epoch_;
  fenced_ = 0;
  acquired_ = false;
  meetings_.assign(warps, 0);
  state_.assign(block.shared_bytes + 16, kGap);
  for (const SharedVariable& v : kernel.shared)
    std::memset(state_.data() + v.offset, kUnwritten, v.size);
  std::memset(state_.data() + block.dynamic_offset, kUnwritten,
              block.shared_bytes - block.dynamic_offset);
  shared_.resize(std::max<size_t>(shared_.size(), block.shared_bytes / 4 + 8));
}

void Checker::barrier() { epoch_++; }

// A block published what it wrote by a fence and an atomic operation after it; a later block that
// began with an atomic operation of its own may read it.
bool Checker::published(uint32_t epoch) const {
  if (!acquired_) return false;
  auto it = std::upper_bound(published_.begin(), published_.end(), epoch,
                             [](uint32_t e, const Published& p) { return e < p.start; });
  return it != published_.begin() && epoch <= std::prev(it)->until;
}

bool Checker::ordered(uint32_t epoch, uint32_t meeting, uint32_t index, const Thread& t) const {
  if (epoch < block_start_) return epoch < since_ || published(epoch);
  if (epoch != epoch_ || index == t.index) return true;
  return warp_of(index) == t.warp && meeting != meetings_[t.warp];
}

// Keeps the last reader, or that several read: then of those bytes alone that all of them read.
void Checker::note_read(Cell& cell, uint32_t mask, const Thread& t) {
  const uint32_t last = cell.reader & kThread;
  const bool this_epoch = cell.read_epoch == epoch_;
  const bool other_block = cell.read_epoch >= since_ && cell.read_epoch < block_start_;
  uint16_t many = cell.reader & kMany;
  const bool same_warp = warp_of(last) == t.warp;
  const bool ordered_before =
      same_warp && many != kBlockReads && last != t.index && cell.read_meeting != meetings_[t.warp];
  const bool warp_went_on =
      many == kWarpReads && same_warp && cell.read_meeting != meetings_[t.warp];
  const bool counts =
      cell.read_epoch >= since_ &&
      (many == kBlocksRead || other_block || (this_epoch && !ordered_before && !warp_went_on));
  uint32_t bytes = mask;
  if (counts) {
    const uint32_t old = cell.reader >> kMaskShift, both = old & mask;
    if (this_epoch && last == t.index && many == 0) {
      bytes = old | mask;
    } else if (many == kBlocksRead) {
      bytes = old;
    } else if (!both) {
      if (many) return;
      many = 0;
    } else {
      const uint16_t now = other_block                        ? kBlocksRead
                           : same_warp && many != kBlockReads ? kWarpReads
                                                              : kBlockReads;
      bytes = many == now ? old : both;
      many = now;
    }
  } else {
    many = 0;
  }
  cell.read_epoch = epoch_;
  cell.read_meeting = meetings_[t.warp];
  cell.reader = static_cast<uint16_t>(bytes << kMaskShift | many | t.index);
}

std::string Checker::touch(Cell& cell, uint32_t mask, const Thread& t, Access access) {
  const uint32_t writer = cell.writer & kThread, reader = cell.reader & kThread;
  if (cell.writer >> kMaskShift & mask) {
    if ((cell.writer & kInFlight) && cell.write_epoch >= block_start_)
      return "a cp.async of thread " + std::to_string(writer) + " into it is not waited for";
    const bool both_atomic = (cell.writer & kAtomicWrite) && access == Access::kAtomic;
    if (!both_atomic && !ordered(cell.write_epoch, cell.write_meeting, writer, t))
      return cell.write_epoch < block_start_
                 ? "race: another block writes it in the same launch"
                 : "race: thread " + std::to_string(writer) + " writes it, with no barrier between";
  }
  if (access == Access::kRead) {
    note_read(cell, mask, t);
    return {};
  }
  if ((cell.reader >> kMaskShift & mask) && cell.read_epoch >= since_) {
    const uint16_t many = cell.reader & kMany;
    if (many == kBlocksRead || (cell.read_epoch < block_start_ && !published(cell.read_epoch)))
      return "race: another block reads it in the same launch";
    const bool others = many == kBlockReads ||
                        (many == kWarpReads &&
                         (warp_of(reader) != t.warp || cell.read_meeting == meetings_[t.warp]));
    const bool alone = many == 0 && ordered(cell.read_epoch, cell.read_meeting, reader, t);
    if (cell.read_epoch == epoch_ && (others || (many == 0 && !alone)))
      return "race: thread " + std::to_string(reader) + " reads it, with no barrier between";
  }
  cell.write_epoch = epoch_;
  cell.write_meeting = meetings_[t.warp];
  cell.writer = static_cast<uint16_t>(mask << kMaskShift | t.index |
                                      (access == Access::kAtomic ? kAtomicWrite : 0));
  return {};
}

std::string Checker::touch_all(Cell* cells, uint64_t at, uint32_t bytes, const Thread& t,
                               Access access) {
  for (uint32_t done = 0; done < bytes;) {
    const auto first = static_cast<uint32_t>((at + done) % 4);
    const uint32_t count = std::min(4 - first, bytes - done);
    std::string wrong = touch(cells[(at + done) / 4], ((1u << count) - 1) << first, t, access);
    if (!wrong.empty()) return wrong;
    done += count;
  }
  return {};
}

std::string Checker::shared_state(uint64_t offset, uint32_t bytes, Access access) {
  if (offset + bytes > state_.size() - 16) return "outside of shared memory";
  uint8_t* state = state_.data() + offset;
  for (uint32_t i = 0; i < bytes; i++) {
    if (state[i] == kGap) return "outside of every variable in shared memory";
    if (state[i] == kUnwritten && access != Access::kWrite && initial_check_)
      return "reads shared memory that nobody wrote";
  }
  if (access != Access::kRead) std::memset(state, kWritten, bytes);
  return {};
}

std::string Checker::shared(const Thread& t, uint64_t offset, uint32_t bytes, Access access) {
  since_ = block_start_;  // each block has shared memory of its own
  std::string wrong = touch_all(shared_.data(), std::min<uint64_t>(offset, shared_.size() * 4 - 32),
                                bytes, t, access);
  std::string state = shared_state(offset, bytes, access);
  return state.empty() || state.starts_with("reads") ? (wrong.empty() ? state : wrong) : state;
}

// Kernels come back to the same few allocations.
bool Checker::allocated(uint64_t address, uint32_t bytes) {
  for (const auto& [begin, end] : found_)
    if (address >= begin && address + bytes <= end) return true;
  const auto found = find_(address);
  if (!found || address + bytes > found->second) return false;
  found_[next_found_++ % found_.size()] = *found;
  return true;
}

std::string Checker::global(const Thread& t, uint64_t address, uint32_t bytes, Access access) {
  if (!allocated(address, bytes)) return "outside of every allocation";
  if (access == Access::kAtomic) {
    acquired_ = true;
    if (fenced_) {
      if (published_.empty() || published_.back().start != block_start_)
        published_.push_back({block_start_, 0});
      published_.back().until = fenced_;
    }
  }
  since_ = launch_start_;
  return touch_all(global_, address - window_.base, bytes, t, access);
}

std::string Checker::copy_begins(const Thread& t, uint64_t offset, uint32_t bytes) {
  std::string wrong = shared(t, offset, bytes, Access::kWrite);
  if (wrong.empty())
    for (uint64_t cell = offset / 4; cell < (offset + bytes) / 4; cell++)
      shared_[cell].writer |= kInFlight;
  return wrong;
}

void Checker::copy_ends(const Thread& t, uint64_t offset, uint32_t bytes) {
  for (uint64_t at = offset / 4; at < (offset + bytes) / 4; at++) {
    Cell& cell = shared_[at];
    cell.write_epoch = epoch_;
    cell.write_meeting = meetings_[t.warp];
    cell.writer = static_cast<uint16_t>(0xf << kMaskShift | t.index);
  }
}

}  // namespace softcuda
