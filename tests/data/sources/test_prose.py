import pytest

from data.sources.prose import is_prose, paragraphs, plain


def test_the_lines_of_a_paragraph_are_joined():
    docstring = "Return the sum\n    of all elements.\n\n    It is zero for\n    an empty list.\n"
    assert paragraphs(docstring) == ["Return the sum of all elements.",
                                     "It is zero for an empty list."]


@pytest.mark.parametrize("block", [
    ">>> f(1)\n2\n",
    ">>> for x in y:\n...     print(x)\nthe output is here\n",
    ".. code-block:: python\n\n    the code is here\n\n    and it is long\n",
    ".. _the target of a link:\n",
    ".. [1] The Author, the Title of the Book\n",
    "```\nthe code is here\n\nand it is long\n```\n",
    "=====  =====\nthe a  the b\n=====  =====\n",
    "+-----+-----+\n| the | row |\n+-----+-----+\n",
    "| the | row |\n",
    "Parameters\n----------\n",
    "========\nThe big heading here\n========\n",
    "Example::\n\n    the code is here\n\n    and it is long\n",
    "For example::\n\n    the code is here\n",
    "x = f(y[0], {1: 2})\n",
    "sum(the, of, a) -> Tensor\n",
    "{common_notes}\n",
    ":rtype: the type of it\n",
    "Copyright (c) by the authors of it\n",
])
def test_blocks_that_are_not_prose_are_left_out(block):
    docstring = f"The first paragraph.\n\n{block}\nThe last paragraph."
    assert paragraphs(docstring) == ["The first paragraph.", "The last paragraph."]


@pytest.mark.parametrize("text, expected", [
    ("Parameters\n----------\nx : array_like\n    The input\n    array.\n"
     "y, z : int\n    The size of it.\n",
     ["x: array_like. The input array.", "y, z: int. The size of it."]),
    ("Raises\n------\nValueError\n    If it is empty.\n", ["ValueError: If it is empty."]),
    ("Args:\n    x (int): the first\n        number\n    y (int): the second number\n",
     ["x (int): the first number", "y (int): the second number"]),
    ("Returns:\n    the number of lines\n", ["Returns: the number of lines"]),
    (":param x: the first number\n:type x: int\n:return: the sum of them\n",
     ["x: the first number", "Return: the sum of them"]),
    ("The kinds are these:\n\n- the first\n  kind of it\n- the second kind\n",
     ["The kinds are these:", "the first kind of it", "the second kind"]),
    ("The list is sorted.::\n\n    code here and there\n\nThe end of it.\n",
     ["The list is sorted.", "The end of it."]),
    (".. note:: This is slow\n    for long lists.\n", ["This is slow for long lists."]),
    (".. warning::\n\n    This is slow for long lists.\n", ["This is slow for long lists."]),
])
def test_parameters_of_all_conventions_become_text(text, expected):
    assert paragraphs(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("See :func:`~torch.abs` and ``x``.", "See `abs` and `x`."),
    ("A :ref:`type promotion <promotion-doc>` of :attr:`input`.", "A type promotion of `input`."),
    ("See `the page <https://example.org>`_ and [this](https://example.org).",
     "See the page and this."),
    ("A **bold** claim [1]_, {{braces}}.", "A bold claim, {braces}."),
    ("Clip (limit) the values.", "Clip (limit) the values."),
])
def test_markup_is_removed(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("Return the sum.", True),
    ("Emit a record.", True),
    ("Tensor", False),
    ("x = f(y[0]) + 3", False),
    ("one_name other_name third", False),
    ("alpha beta gamma delta epsilon zeta eta theta iota", False),
    ("这是 一个 例子", False),
])
def test_english_is_recognized(text, expected):
    assert is_prose(text) == expected
