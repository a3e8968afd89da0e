"""scikit-learn's own checks, on numeric rows spelled out as words."""

import numpy as np
import pytest
import transformers
from conftest import GPT2_SIZES
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data
from tokenizers import Tokenizer, models, pre_tokenizers

from skclsgen import CLSGenClassifier

FEATURES, LEVELS = 26, 12
#: Relative: the estimator's parameters name the tests, which must be the same in every process.
FOLDER = "model-of-numbers"


def words(X):
    """One word per feature: its letter and its value in half units, as in ``a3 b-2``."""
    levels = np.clip(np.round(2 * X), -LEVELS, LEVELS).astype(int)
    return [" ".join(f"{chr(97 + j % FEATURES)}{v}" for j, v in enumerate(row)) for row in levels]


class OnNumbers(CLSGenClassifier):
    """Takes numeric rows, which is what the checks pass."""

    def fit(self, X, y, sample_weight=None, explanations=None):
        X = validate_data(self, X)
        return super().fit(words(X), y, sample_weight, explanations)

    def _check_texts(self, X):
        check_is_fitted(self)
        return words(validate_data(self, X, reset=False))

    def _keep_column_names(self, X):
        """Leave them to validate_data."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = False
        tags.input_tags.string = False
        return tags


#: float64 and one batch an epoch: weighting a row and repeating it are then the same arithmetic,
#: as check_sample_weight_equivalence demands to seven digits.
ESTIMATOR = OnNumbers(
    FOLDER,
    instruction="?",
    dtype="float64",
    device="cpu",
    rationales=None,
    lora_layers="all",
    lora_r=4,
    epochs=40,
    learning_rate=2e-3,
    batch_size=10_000,
    random_state=0,
)


@pytest.fixture(scope="module", autouse=True)
def model(tmp_path_factory):
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "Answer:": 3, ".": 4, "?": 5}
    for j in range(FEATURES):
        for v in range(-LEVELS, LEVELS + 1):
            vocabulary[f"{chr(97 + j)}{v}"] = len(vocabulary)
    for label in range(-9, 10):
        vocabulary[str(label)] = len(vocabulary)
        vocabulary[str(float(label))] = len(vocabulary)  # labels of some checks
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # GPT-2 computes in float64 throughout; most younger families normalise in float32.
    config = transformers.GPT2Config(**{**GPT2_SIZES, "vocab_size": len(vocabulary), "n_layer": 1})
    transformers.set_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("checks"))
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
        ).save_pretrained(FOLDER)
        transformers.GPT2LMHeadModel(config).save_pretrained(FOLDER)
        yield


@parametrize_with_checks([ESTIMATOR])
def test_estimator(estimator, check):
    check(estimator)


def test_no_check_is_left_out():
    """At least as many checks as scikit-learn 1.9.1 has, and none expected to fail."""
    checks = list(estimator_checks_generator(ESTIMATOR))
    assert len(checks) >= 62
