"""Operators on text: letters, white space and categories as Unicode has them, in every locale."""

import re
import unicodedata

import numpy as np
import pytest
from onnx import TensorProto, helper

import tiercel

LETTERS = [chr(c) for c in [*range(1, 0xD800), *range(0xE000, 0x30000)]]


def run(op, texts, outputs=("y",), **attributes):
    node = helper.make_node(op, ["x"], list(outputs), name="it", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [None])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    session = tiercel.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": np.array(texts, object)})


def change_case(texts, action):
    return run("StringNormalizer", texts, case_change_action=action)[0].tolist()


def test_case_of_every_letter():
    assert change_case(LETTERS, "LOWER") == [c.lower() for c in LETTERS]
    assert change_case(LETTERS, "UPPER") == [c.upper() for c in LETTERS]


@pytest.mark.parametrize(
    "text", ["ΑΣ", "ΑΣ Σ", "ΣΑ", "Α.Σ", "ΑΣ.Α", "ΑΣ'", "ʰΣ", "Σ", "ΌΣΟΣ", "İI", "straße ŉ ǰ ΐ ﬃ"]
)
def test_case_that_depends_on_neighbours(text):
    assert change_case([text], "LOWER") == [text.lower()]
    assert change_case([text], "UPPER") == [text.upper()]


def test_split_at_white_space_of_unicode():
    texts = ["a b", "\u2003a\u00a0b\u3000", " \x1c ", "", "a  b\tc\nd", "x\u200by"]
    for limit in (-1, 0, 1, 2):
        attributes = {} if limit < 0 else {"maxsplit": limit}
        parts, counts = run("StringSplit", texts, ("y", "z"), **attributes)
        for text, row, count in zip(texts, parts, counts, strict=True):
            assert row.tolist()[:count] == text.rstrip().split(None, limit)
            assert row.tolist()[count:] == [""] * (parts.shape[1] - count)


def full_match(pattern, texts):
    return run("RegexFullMatch", texts, pattern=pattern)[0].tolist()


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)strasse|k+",
        "(?i)[a-c]+x",
        "(?i:ab)c",
        "a(?i:b)c",
        "(?s)a.b",
        "(?m)a$\n^b",
        "(?m)(^.$\n?)+",
        "a.b",
        "(?i)[^a]",
        "(?i)ΣΑ",
        "[^0-9]+",
        r"\x41\x42?",
        "(?P<name>a|b)*",
    ],
)
def test_regular_expressions_as_pythons(pattern):
    texts = [
        "a",
        "b",
        "k",
        "K",
        "\u212a",
        "A",
        "abc",
        "aBc",
        "ABC",
        "AX",
        "Cx",
        "strasse",
        "STRASSE",
    ]
    texts += ["a\nb", "a\n\nb", "σα", "ΣΑ", "ςα", "", "AB", "7", "x\ny", "aab"]
    expected = [re.fullmatch(pattern, text) is not None for text in texts]
    assert full_match(pattern, texts) == expected


def test_categories():
    points = LETTERS[: 0x3000 - 1]
    for name in ("L", "Lu", "Nd", "P", "Zs", "S"):
        expected = [unicodedata.category(c).startswith(name) for c in points]
        assert full_match(rf"\p{{{name}}}", points) == expected
        assert full_match(rf"\P{{{name}}}", points) == [not e for e in expected]
        assert full_match(rf"[\p{{^{name}}}]", points) == [not e for e in expected]
    assert full_match(r"\pL+", ["äöü", "ä1"]) == [True, False]


def test_further_syntax_of_re2():
    assert full_match(r"[[:^digit:]]+", ["ab", "a1"]) == [True, False]
    assert full_match(r"[[:xdigit:]]+", ["aF0", "g"]) == [True, False]
    assert full_match(r"\Qa.b*\E+", ["a.b*", "a.b**", "axb"]) == [True, True, False]


@pytest.mark.parametrize(
    "pattern, message",
    [
        (r"(?=a)", "look-around"),
        (r"(?<=a)", "look-around"),
        (r"(?x)a", "flag"),
        (r"\p{Greek}", "no general category"),
        (r"\p{L", "expected }"),
        (r"(a", "not closed"),
    ],
)
def test_faults_in_patterns(pattern, message):
    with pytest.raises(tiercel.InvalidArgument, match=message):
        full_match(pattern, ["a"])


@pytest.mark.parametrize(
    "pattern",
    ["[a-c_]+", "(ab|a)(c|bcd)?", "a*", "[^b]{2,4}", "(a|b)*abb", "x?y+|é", "." * 40 + "?"],
)
def test_patterns_without_edges_in_random_texts(pattern):
    """Such patterns run by a table where a text is ASCII."""
    rng = np.random.default_rng(2)
    letters = np.array(list("abcxy_d é\n"))
    texts = ["".join(rng.choice(letters, rng.integers(0, 9))) for _ in range(300)]
    texts += ["a" * 39, "b" * 40, "é" * 40]
    expected = [re.fullmatch(pattern, text) is not None for text in texts]
    assert full_match(pattern, texts) == expected
