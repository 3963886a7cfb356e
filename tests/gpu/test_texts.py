"""The PTX in the library: all of it can be read, and is no newer than its version says."""

from __future__ import annotations

import re

import pytest

from tiercel import _core

TEXTS: list[tuple[str, str, str]] = _core.device_texts()
HEAD = ".version 7.5\n.target sm_80\n.address_size 64\n"
# All of these are in PTX ISA 7.5 and run on sm_80, by the table of releases in its documentation.
DIRECTIVES = set(
    ".version .target .address_size .visible .extern .entry .func .global .const .shared .local "
    ".param .reg .pragma .maxntid .minnctapersm".split()
)
INSTRUCTIONS = set(
    "abs add addc and bfe bfi clz copysign cvta div ex2 fma ld lg2 mad madc max min mov mul neg "
    "not or popc prmt rcp rem rsqrt selp setp shl shr sqrt st sub subc testp xor".split()
)
TYPES = set("b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f16 f32 f64 pred".split())
WHOLE = re.compile(
    r"atom\.global\.max\.u(32|64)|bar\.sync|bar\.warp\.sync|bra(\.uni)?|brx\.idx|call(\.uni)?|ret|"
    r"cp\.async\.(ca\.shared\.global|cg\.shared\.global|commit_group|wait_group)|"
    r"cvt\.rn\.bf16\.f32|cvt\.rn\.f16x2\.f32|cvt\.rna\.tf32\.f32|"
    r"ldmatrix\.sync\.aligned\.m8n8\.x4(\.trans)?\.shared\.b16|"
    r"mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32\.tf32\.f32|"
    r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.(bf16\.bf16|f16\.f16)\.f32|"
    r"mma\.sync\.aligned\.m16n8k32\.row\.col\.s32\.[su]8\.[su]8\.s32|"
    r"shf\.[lr]\.(wrap|clamp)\.b32|shfl\.sync\.(bfly|idx|up|down)\.b32|"
    r"vote\.sync\.(all|any)\.pred"
)
CONVERTED = re.compile(r"cvt(\.(rn|rz|rm|rp|rni|rzi|rmi|rpi|sat|ftz))*")
STATEMENT = re.compile(
    r"(?:^|;)\s*\{?\s*(?:@!?\S+\s+)?([a-z]+\.[\w.:]+|\.\w+|[a-z]+(?=[ ;]))", re.M
)


def named(*kinds: str) -> list[tuple[str, str]]:
    return [(name, text) for kind, name, text in TEXTS if kind in kinds]


def statements(text: str) -> set[str]:
    """The instructions and directives with which statements begin."""
    text = re.sub(r"^\.(global|const) [^;]*;", "", text, flags=re.M)
    return set(STATEMENT.findall(text))


def is_known(statement: str) -> bool:
    """Whether a statement may begin so."""
    if statement.startswith("."):
        return statement in DIRECTIVES
    if WHOLE.fullmatch(statement):
        return True
    name, *_, last = statement.split(".")
    if name == "cvt":
        kinds = CONVERTED.sub("", statement).split(".")[1:]
        return len(kinds) == 2 and set(kinds) <= TYPES
    return name in INSTRUCTIONS and last in TYPES


def test_every_kind_is_there() -> None:
    assert {kind for kind, _, _ in TEXTS} >= {"kernel", "tile"}
    assert all(text for _, _, text in TEXTS)


@pytest.mark.parametrize("kind", ["kernel", "module"])
def test_version(kind: str) -> None:
    for name, text in named(kind):
        assert text.startswith(HEAD), name
        assert text.count(".version") == 1, name


@pytest.mark.parametrize("kind", ["kernel", "tile", "function", "module"])
def test_nothing_newer_than_the_version(kind: str) -> None:
    for name, text in named(kind):
        unknown = {one for one in statements(text) if not is_known(one)}
        assert not unknown, name
        assert not re.search(r"\.pragma(?! \"nounroll\";)", text), name


@pytest.mark.parametrize(
    "statement",
    [
        "cvt.f32.bf16",
        "fma.rn.f32x2",
        "ld.global.b128",
        "mbarrier.init.shared.b64",
        ".blocksareclusters",
    ],
)
def test_newer_ones_would_be_found(statement: str) -> None:
    assert [is_known(one) for one in statements(f"{statement} %r1, %r2;\n")] == [False]
