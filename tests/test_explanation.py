import pickle

import pytest

from skclsgen import Explanation, Explanations
from skclsgen.exceptions import OptionalDependencyError

ONE = Explanation("The door is stuck.", "bad", 0.9, "bad", "<b>Stuck</b> & late", True)
TWO = Explanation("It is <i>warm</i>", 1, 0.25, 0, "warm", False)


@pytest.fixture
def both():
    return Explanations([ONE, TWO])


def test_is_a_sequence(both):
    assert len(both) == 2
    assert both[0] is ONE
    assert both[-1] is TWO
    assert list(both) == [ONE, TWO]
    assert both[:1] == Explanations([ONE])
    assert ONE in both
    assert both != [ONE, TWO]
    assert hash(both) == hash(Explanations([ONE, TWO]))
    assert pickle.loads(pickle.dumps(both)) == both


def test_str_is_the_words(both):
    assert str(ONE) == "The door is stuck."
    assert str(both) == "bad (90%): The door is stuck.\n1 (25%): It is <i>warm</i>"
    assert eval(repr(ONE)) == ONE


def test_frame(both):
    frame = both.to_frame()
    assert frame.columns.tolist() == [
        "source", "label", "proba", "predicted", "text", "complete",
    ]  # fmt: skip
    assert frame["proba"].tolist() == [0.9, 0.25]


def test_frame_without_pandas(both, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionalDependencyError, match=r"pip install 'skclsgen\[pandas\]'"):
        both.to_frame()


def test_html_is_escaped_and_has_a_bar(both):
    html = both._repr_html_()
    assert "<b>Stuck</b>" not in html
    assert "&lt;b&gt;Stuck&lt;/b&gt; &amp; late" in html
    assert "<i>" not in html
    assert "width:90%" in html
    assert "width:25%" in html
    assert "predicted: 0" in html
    assert html.count("<tr") == 3


def test_html_is_bounded():
    html = Explanations([ONE] * 80)._repr_html_()
    assert html.count("<tr") == 51
    assert "and 30 more" in html
    long = Explanation("x", "a", 0.5, "a", "y" * 5000, True)
    assert "y" * 401 not in Explanations([long])._repr_html_()
