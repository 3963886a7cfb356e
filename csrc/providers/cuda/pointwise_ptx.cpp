// Writes a pointwise program as PTX from the templates of its tiles. A register holds the bits of
// an element with zeros above them; packed elements, several in a byte, are those of one thread.
#include "providers/cuda/pointwise_ptx.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "providers/cuda/texts.h"

namespace tiercel::cuda {
namespace {

using Kind = PointwiseProgram::Register::Kind;

std::string hex(uint64_t bits, int digits) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out(static_cast<size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i, bits >>= 4)
    out[static_cast<size_t>(i)] = kDigits[bits & 15];
  return out;
}

class Writer {
 public:
  Writer(const PointwiseProgram& program, const PointwiseForm& form)
      : program_(program), form_(form) {}

  std::string write() {
    constants();
    scalars();
    line("mov.u32 %t, %ctaid.x;");
    line("mov.u32 %u, %ntid.x;");
    line("mov.u32 %q, %tid.x;");
    line("mad.lo.u32 %t, %t, %u, %q;");
    line(concat("mul.wide.u32 %i, %t, ", form_.elements, ";"));
    line("ld.param.u64 %n, [size];");
    line("setp.ge.u64 %p, %i, %n;");
    line("@%p bra $end;");
    if (form_.elements > 1 && !form_.one_walk) {
      line(concat("add.u64 %e, %i, ", form_.elements, ";"));
      line("setp.gt.u64 %p, %e, %n;");
      line("@%p bra $rest;");
      body(static_cast<int>(form_.elements), true);
      line("bra.uni $end;");
      line("$rest:");
      body(1, false);
      line("add.u64 %i, %i, 1;");
      line("setp.lt.u64 %p, %i, %n;");
      line("@%p bra $rest;");
    } else {
      body(static_cast<int>(form_.elements), form_.elements > 1);
    }
    return head() + text_ + "$end:\nret;\n}\n";
  }

  PointwiseInside inside(DType dtype) {
    line("mov.b64 %i, %program_at;");
    constants();
    scalars();
    Values now;
    const int made_by_kernel = program_.input_register[0];
    if (made_by_kernel >= 0) now[made_by_kernel] = {from_kernel(dtype, made_by_kernel)};
    load(1, false, now);
    compute(1, now);
    const int bits = to_kernel(dtype, value(program_.output_register[0], now, 0));
    PointwiseInside made{.functions = functions(),
                         .place = concat("mov.b", bits, " %program_out, %program_in;"),
                         .statements = concat("{\n", registers(), text_, "}")};
    for (size_t i = 1; i < form_.inputs.size(); ++i) {
      made.parameters += concat(",\n.param .u64 in", i);
    }
    made.parameters += walk_parameter();
    return made;
  }

 private:
  using Values = std::map<int, std::vector<std::string>>;  // by register: one name per element

  std::string head() const {
    std::string out = ".version 7.5\n.target sm_80\n.address_size 64\n" + functions();
    out += ".visible .entry pointwise(\n";
    for (int i = 0; i < program_.n_inputs; ++i) out += concat(".param .u64 in", i, ",\n");
    for (int i = 0; i < program_.n_outputs; ++i) out += concat(".param .u64 out", i, ",\n");
    return concat(out, ".param .u64 size", walk_parameter(), ")\n{\n", registers());
  }

  std::string functions() const {
    std::string out;
    for (const int16_t one : functions_) out += function_text(one);
    return out;
  }

  std::string walk_parameter() const {
    const int64_t words = form_.rank * (1 + std::ranges::count_if(form_.inputs, walks));
    return words > 0 ? concat(",\n.param .align 4 .b8 walk[", words * 4, "]") : "";
  }

  std::string registers() const {
    std::string out = ".reg .pred %p;\n.reg .b32 %t, %u, %q;\n.reg .b64 %i, %n, %e, %a, %o;\n";
    out += concat(".reg .b32 %v<", narrow_ + 1, ">;\n.reg .b64 %w<", wide_ + 1, ">;\n");
    if (form_.rank > 0) out += concat(".reg .b32 %s<", program_.n_inputs, ">;\n");
    return out;
  }

  void line(const std::string& text) { text_ += text + "\n"; }

  std::string fresh(int bits) {
    return bits == 64 ? concat("%w", wide_++) : concat("%v", narrow_++);
  }

  // The memory type of an element, or of the byte of packed ones; narrow ones fill registers with
  // zeros above them.
  static std::string memory_type(int bits) {
    return bits >= 32 ? concat("b", bits) : concat("u", std::max(bits, 8));
  }

  void constants() {
    for (size_t i = 0; i < program_.registers.size(); ++i) {
      const PointwiseProgram::Register& reg = program_.registers[i];
      if (reg.kind != Kind::Constant) continue;
      uint64_t bits = 0;
      std::memcpy(&bits, program_.constants[static_cast<size_t>(reg.index)].data(),
                  static_cast<size_t>((reg.bits + 7) / 8));
      const bool wide = reg.bits == 64;
      fixed_[static_cast<int>(i)] = fresh(reg.bits);
      line(concat("mov.b", wide ? 64 : 32, " ", fixed_[static_cast<int>(i)], ", 0x",
                  hex(bits, wide ? 16 : 8), ";"));
    }
    for (double param : program_.params) {
      params_.push_back(fresh(64));
      line(
          concat("mov.b64 ", params_.back(), ", 0d", hex(std::bit_cast<uint64_t>(param), 16), ";"));
    }
  }

  void scalars() {
    for (size_t i = 0; i < form_.inputs.size(); ++i) {
      if (form_.inputs[i] != PointwiseForm::Operand::Scalar) continue;
      const int reg = program_.input_register[i];
      const int bits = program_.registers[static_cast<size_t>(reg)].bits;
      fixed_[reg] = fresh(bits);
      line(concat("ld.param.u64 %a, [in", i, "];"));
      line(concat("ld.global.", memory_type(bits), " ", fixed_[reg], ", [%a];"));
      if (bits < 8) line(concat("bfe.u32 ", fixed_[reg], ", ", fixed_[reg], ", 0, ", bits, ";"));
    }
  }

  static bool walks(PointwiseForm::Operand operand) {
    return operand == PointwiseForm::Operand::Strided ||
           operand == PointwiseForm::Operand::Repeated;
  }

  // Element numbers of the strided operands, from that of the output, `element` behind %i.
  void walk(int element) {
    line("cvt.u32.u64 %t, %i;");
    if (element > 0) line(concat("add.u32 %t, %t, ", element, ";"));
    std::vector<size_t> strided;
    for (size_t i = 0; i < form_.inputs.size(); ++i) {
      if (!walks(form_.inputs[i])) continue;
      strided.push_back(i);
      line(concat("mov.b32 %s", i, ", 0;"));
    }
    for (int64_t axis = form_.rank - 1; axis >= 0; --axis) {
      if (axis > 0) {
        line(concat("ld.param.u32 %u, [walk+", axis * 4, "];"));
        line("div.u32 %q, %t, %u;");
        line("mul.lo.u32 %u, %q, %u;");
        line("sub.u32 %u, %t, %u;");
        line("mov.b32 %t, %q;");
      } else {
        line("mov.b32 %u, %t;");
      }
      for (size_t k = 0; k < strided.size(); ++k) {
        const int64_t at = form_.rank * static_cast<int64_t>(k + 1) + axis;
        line(concat("ld.param.u32 %q, [walk+", at * 4, "];"));
        line(concat("mad.lo.u32 %s", strided[k], ", %u, %q, %s", strided[k], ";"));
      }
    }
  }

  // Packed elements from %i: whole bytes of them, or one.
  void move_packed(bool loads, const std::string& base, int bits, bool several,
                   const std::vector<std::string>& registers) {
    const auto per = static_cast<size_t>(8 / bits);
    line(concat("ld.param.u64 %a, [", base, "];"));
    line(concat("shr.u64 %o, %i, ", std::countr_zero(per), ";"));
    line("add.u64 %a, %a, %o;");
    if (!several) {
      line("cvt.u32.u64 %q, %i;");
      line(concat("and.b32 %q, %q, ", per - 1, ";"));
      line(concat("mul.lo.u32 %q, %q, ", bits, ";"));
      if (loads) {
        line("ld.global.u8 %t, [%a];");
        line(concat("bfe.u32 ", registers[0], ", %t, %q, ", bits, ";"));
        return;
      }
      // The first element of a byte clears what follows it there.
      line("mov.b32 %t, 0;");
      line("setp.ne.u32 %p, %q, 0;");
      line("@%p ld.global.u8 %t, [%a];");
      line(concat("bfi.b32 %t, ", registers[0], ", %t, %q, ", bits, ";"));
      line("st.global.u8 [%a], %t;");
      return;
    }
    for (size_t at = 0; at < registers.size(); at += per) {
      const std::string place = concat("[%a+", at / per, "]");
      line(loads ? concat("ld.global.u8 %t, ", place, ";") : "mov.b32 %t, 0;");
      for (size_t k = 0; k < per; ++k) {
        const std::string bit = concat(static_cast<int>(k) * bits, ", ", bits, ";");
        line(loads ? concat("bfe.u32 ", registers[at + k], ", %t, ", bit)
                   : concat("bfi.b32 %t, ", registers[at + k], ", %t, ", bit));
      }
      if (!loads) line(concat("st.global.u8 ", place, ", %t;"));
    }
  }

  // `count` elements from %i between memory at `base` and registers.
  void move(const char* instruction, const std::string& base, int bits, bool several,
            const std::vector<std::string>& registers, const std::string& index) {
    if (bits < 8) return move_packed(instruction[0] == 'l', base, bits, several, registers);
    line(concat("ld.param.u64 %a, [", base, "];"));
    line(concat("shl.b64 %o, ", index, ", ", std::countr_zero(static_cast<unsigned>(bits / 8)),
                ";"));
    line("add.u64 %a, %a, %o;");
    const size_t width = several ? std::min<size_t>(registers.size(), bits == 64 ? 2 : 4) : 1;
    for (size_t at = 0; at < registers.size(); at += width) {
      std::string list = registers[at];
      for (size_t k = 1; k < width; ++k) list += ", " + registers[at + k];
      const std::string vector = width == 1 ? "" : concat(".v", width);
      const std::string place = concat("[%a+", static_cast<int64_t>(at) * bits / 8, "]");
      if (width > 1) list = "{" + list + "}";
      const bool loads = instruction[0] == 'l';
      line(concat(instruction, vector, ".", memory_type(bits), " ", loads ? list : place, ", ",
                  loads ? place : list, ";"));
    }
  }

  // Loads strided operands: all elements of a thread after one walk, or each after its own.
  void load_strided(int count, bool several, Values& now) {
    for (int e = 0; e < (form_.one_walk ? 1 : count); ++e) {
      walk(e);
      for (size_t i = 0; i < form_.inputs.size(); ++i) {
        if (!walks(form_.inputs[i])) continue;
        const int reg = program_.input_register[i];
        const int bits = program_.registers[static_cast<size_t>(reg)].bits;
        const bool line_of_it =
            form_.one_walk && form_.inputs[i] != PointwiseForm::Operand::Repeated;
        std::vector<std::string> names;
        for (int k = 0; k < (line_of_it ? count : 1); ++k) names.push_back(fresh(bits));
        line(concat("cvt.u64.u32 %e, %s", i, ";"));
        move("ld.global", concat("in", i), bits, several && line_of_it, names, "%e");
        if (form_.one_walk) names.resize(static_cast<size_t>(count), names[0]);
        now[reg].insert(now[reg].end(), names.begin(), names.end());
      }
    }
  }

  void load(int count, bool several, Values& now) {
    for (size_t i = 0; i < form_.inputs.size(); ++i) {
      if (form_.inputs[i] != PointwiseForm::Operand::Dense) continue;
      const int reg = program_.input_register[i];
      const int bits = program_.registers[static_cast<size_t>(reg)].bits;
      std::vector<std::string> names;
      for (int e = 0; e < count; ++e) names.push_back(fresh(bits));
      move("ld.global", concat("in", i), bits, several, names, "%i");
      now[reg] = std::move(names);
    }
    if (form_.rank > 0) load_strided(count, several, now);
  }

  void compute(int count, Values& now) {
    for (const PointwiseProgram::Instruction& step : program_.instructions) {
      std::vector<std::string> results;
      for (int e = 0; e < count; ++e) results.push_back(instruction(step, now, e));
      now[step.out] = std::move(results);
    }
  }

  void body(int count, bool several) {
    Values now;
    load(count, several, now);
    compute(count, now);
    for (size_t i = 0; i < program_.output_register.size(); ++i) {
      const int reg = program_.output_register[i];
      std::vector<std::string> names;
      for (int e = 0; e < count; ++e) names.push_back(value(reg, now, e));
      move("st.global", concat("out", i), program_.registers[static_cast<size_t>(reg)].bits,
           several, names, "%i");
    }
  }

  // The element that the kernel around the program has made: rounded to its type where the program
  // does not read it as float32.
  std::string from_kernel(DType dtype, int reg) {
    if (program_.registers[static_cast<size_t>(reg)].bits != 16) return "%program_in";
    const std::string made = fresh(16);
    const char* type = dtype == DType::Float16 ? "f16" : "bf16";
    line("{\n.reg .b16 %h;");
    line(concat("cvt.rn.", type, ".f32 %h, %program_in;"));
    line(concat("cvt.u32.u16 ", made, ", %h;\n}"));
    return made;
  }

  // Leaves the result as the kernel takes it; gives the bits that it has there.
  int to_kernel(DType dtype, const std::string& result) {
    if (dtype == DType::Float16) {
      line(concat("{\n.reg .b16 %h;\ncvt.u16.u32 %h, ", result, ";"));
      line("cvt.f32.f16 %program_out, %h;\n}");
      return 32;
    }
    if (dtype == DType::BFloat16) {
      line(concat("shl.b32 %program_out, ", result, ", 16;"));
      return 32;
    }
    const int bits = static_cast<int>(dtype_bits(dtype));
    line(concat("mov.b", bits, " %program_out, ", result, ";"));
    return bits;
  }

  std::string value(int reg, const Values& now, int element) const {
    const auto moving = now.find(reg);
    return moving != now.end() ? moving->second[static_cast<size_t>(element)] : fixed_.at(reg);
  }

  // One tile with the names of its operands; gives that of its result.
  std::string instruction(const PointwiseProgram::Instruction& step, const Values& now,
                          int element) {
    std::vector<std::string> operands;
    for (const int16_t in : step.in) {
      if (in >= 0) operands.push_back(value(in, now, element));
    }
    size_t param = static_cast<size_t>(step.params);
    for (const char* const* name = step.tile->attributes; name && *name; ++name) {
      operands.push_back(params_[param++]);
    }
    const std::string result = fresh(program_.registers[static_cast<size_t>(step.out)].bits);
    const std::string number = std::to_string(scope_++) + "_";
    const TileText tile = tile_text(*step.tile);
    functions_.insert(tile.functions.begin(), tile.functions.end());
    for (const char& c : tile.text) {
      if (c == '~') {
        text_ += number;
      } else if (c == '^') {
        const char which = *(&c + 1);
        text_ += which == 'r' ? result : operands.at(static_cast<size_t>(which - '0'));
        skip_ = true;
      } else if (skip_) {
        skip_ = false;
      } else {
        text_ += c;
      }
    }
    return result;
  }

  const PointwiseProgram& program_;
  const PointwiseForm& form_;
  std::string text_;
  std::map<int, std::string> fixed_;  // registers that are one for all elements
  std::vector<std::string> params_;
  std::set<int16_t> functions_;  // that the tiles need
  int narrow_ = 0, wide_ = 0, scope_ = 0;
  bool skip_ = false;
};

// wide_results of kernels/cuda/device.cuh
constexpr std::string_view kNarrowResults = "mov.b32 %program_wide, 0;";
constexpr std::string_view kWideResults = "mov.b32 %program_wide, 1;";

// False where `from` is not there.
bool replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  const bool found = at != std::string::npos;
  for (; at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return found;
}

}  // namespace

std::optional<std::string> pointwise_ptx_refuses(const PointwiseProgram& program) {
  for (const PointwiseProgram::Register& reg : program.registers) {
    if (reg.bits > 64 || (reg.bits < 8 && 8 % reg.bits != 0)) {
      return concat("elements of ", reg.bits, " bits");
    }
  }
  for (const PointwiseProgram::Instruction& step : program.instructions) {
    if (tile_text(*step.tile).text.empty()) {
      return concat("no PTX for ", step.tile->op, " ", step.tile->types);
    }
  }
  return std::nullopt;
}

int64_t elements_per_thread(const PointwiseProgram& program) {
  int widest = 8, narrowest = 8;
  for (const PointwiseProgram::Register& reg : program.registers) {
    if (reg.kind != Kind::Input && reg.kind != Kind::Output) continue;
    widest = std::max<int>(widest, reg.bits);
    narrowest = std::min<int>(narrowest, reg.bits);
  }
  // A thread has all elements of a byte.
  return std::max<int64_t>(std::min<int64_t>(128 / widest, 8), 8 / narrowest);
}

std::string pointwise_ptx(const PointwiseProgram& program, const PointwiseForm& form) {
  return Writer(program, form).write();
}

PointwiseInside pointwise_inside(const PointwiseProgram& program, const PointwiseForm& form,
                                 DType dtype) {
  return Writer(program, form).inside(dtype);
}

std::string entry_with_program(std::string_view text, const std::string& entry,
                               const PointwiseInside& program) {
  constexpr std::string_view kEntry = ".visible .entry ";
  const size_t start = text.find(concat(kEntry, entry, "("));
  std::string own(text.substr(start, text.find(kEntry, start + 1) - start));
  if (!replace_all(own, program.place, program.statements)) return "";
  if (program.wide && !replace_all(own, kNarrowResults, kWideResults)) return "";
  own.insert(own.find("\n)"), program.parameters);
  return concat(text.substr(0, text.find(kEntry)), program.functions, own);
}

}  // namespace tiercel::cuda
