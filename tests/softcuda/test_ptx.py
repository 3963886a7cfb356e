"""The translator's words for what it cannot read; needs neither NVRTC nor a compiler."""

from __future__ import annotations

import pytest

from softcuda import PtxError, UnsupportedInstruction, translate

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def kernel(body: str) -> str:
    """A module with one kernel; its body begins in line 6."""
    return f"{HEAD}.visible .entry f(.param .u64 f_0)\n{{\n{body}\nret;\n}}\n"


@pytest.mark.parametrize(
    "instruction,message",
    [
        ("wgmma.fence.sync.aligned;", "'wgmma.fence.sync.aligned'"),
        ("add.rz.f64 %fd1, %fd1, %fd1;", "'add.rz.f64': a rounding other than to nearest"),
        ("ld.global.evil.f32 %f1, [%rd1];", "'ld.global.evil.f32': qualifier '.evil'"),
        ("setp.odd.s32 %p1, %r1, %r1;", "'setp.odd.s32': relation '.odd'"),
        ("cvt.rn.e4m3x2.f32 %r1, %f1, %f1;", "type '.e4m3x2'|qualifier"),
        ("cp.async.bulk.commit_group;", "'cp.async.bulk.commit_group'"),
        ("ldmatrix.sync.aligned.m16n16.x1.shared.b8 {%r1}, [%r2];", "'ldmatrix"),
        ("call (%r1), elsewhere, (%r1);", "a call of elsewhere"),
        ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd1}, {%fd1}, {%fd1}, {%fd1};", "'mma"),
    ],
)
def test_unknown_instruction_is_named_with_its_line(instruction: str, message: str) -> None:
    registers = ".reg .f32 %f<2>; .reg .f64 %fd<2>; .reg .b64 %rd<2>; .reg .b32 %r<3>; "
    registers += ".reg .pred %p<2>;"
    with pytest.raises(UnsupportedInstruction, match=message) as error:
        translate(kernel(f"{registers}\n{instruction}"), checked=True)
    error.match("PTX line 7, function f: the software device does not know")


def test_source_line_is_named() -> None:
    body = ".reg .b32 %r<2>;\n.loc 1 42 3\nhammer.u32 %r1, %r1;"
    text = kernel(body).replace(HEAD, HEAD.rstrip() + '\n.file 1 "/some/where/k.cu"\n')
    with pytest.raises(UnsupportedInstruction, match=r"k\.cu:42: .*'hammer\.u32'"):
        translate(text, checked=False)


@pytest.mark.parametrize(
    "text,message",
    [
        ("int main() { return 0; }", "line 1: unknown directive 'int'"),
        (HEAD + ".visible .entry f()\n{\nret;\n", "line .*the text ends inside f"),
        (HEAD + ".global .b32 #;\n", "line 4: no PTX token begins with '#"),
        (HEAD + ".global .b24 x;\n", "line 4: unknown type 'b24'"),
        (kernel("mov.u32 %r1, 5;"), "%r1 is no register"),
        (kernel(".reg .b32 %r<2>;\nmov.u32 %r1, nowhere;"), "unknown name nowhere"),
    ],
)
def test_what_is_no_ptx(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        translate(text, checked=True)


def test_names_of_inner_scopes_do_not_meet() -> None:
    """Two copies of inline assembly declare the same register and label."""
    inline = "{\n.reg .b32 tmp;\nmov.u32 tmp, {n};\nbra AGAIN;\nAGAIN:\nmov.u32 %r1, tmp;\n}\n"
    body = ".reg .b32 %r<2>;\n" + inline.replace("{n}", "1") + inline.replace("{n}", "2")
    text = translate(kernel(body), checked=True)
    assert text.count("vtmp_1{}") == 1 and text.count("vtmp_2{}") == 1
    assert text.count("vAGAIN_1:") == 1 and text.count("vAGAIN_2:") == 1
    assert "goto vAGAIN_2;" in text
