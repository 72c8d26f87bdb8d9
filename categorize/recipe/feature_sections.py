"""How texts become features: the section of each kind, told by its `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from categorize.recipe.section import PositiveInt, Section, Variants


def _rising(values: list[int]) -> list[int]:
    if values[0] > values[1]:
        raise ValueError(f"the shortest comes first: [{values[1]}, {values[0]}]")
    return values


NgramRange = Annotated[list[PositiveInt], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class NgramKeys(Section):
    """Which n-grams count."""

    char_ngrams: NgramRange | None = Field(
        default_factory=lambda: [1, 3], description="Lengths of character n-grams; null for none."
    )
    word_ngrams: NgramRange | None = Field(
        None,
        description="Lengths of word n-grams; null for none. A Chinese, Japanese or Thai character counts as a word.",
    )
    min_df: PositiveInt = Field(1, description="Leave out n-grams that fewer rows hold.")
    max_features: PositiveInt | None = Field(None, description="Keep the most frequent n-grams only.")


class TfidfFeatures(NgramKeys):
    """TF-IDF weights of n-grams; a sparse matrix."""

    type: Literal["tfidf"]


class EmbeddingKeys(Section):
    """A pretrained model, and where its vectors are kept."""

    name_or_path: str = Field(description="Hub id or folder of the model.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    cache: bool = Field(
        True, description="Keep vectors on the disk, by model and text, so that none is computed twice."
    )
    cache_dir: str | None = Field(
        None,
        description="Folder of the kept vectors; by default that of the environment variable "
        "CATEGORIZE_EMBEDDINGS_CACHE, else ~/.cache/categorize/embeddings.",
    )


class EncoderFeatures(EmbeddingKeys):
    """Hidden states of any encoder or decoder, pooled."""

    type: Literal["encoder"]
    pooling: Literal["mean", "cls", "last_token"] = Field(
        "mean", description="What a text's vector is made of: the mean over its tokens, the first, or the last of them."
    )
    max_length: PositiveInt = Field(256, description="Longest input in tokens; longer ones are cut.")
    prefix: str = Field("", description="Text before each text, such as 'query: ' for E5.")
    normalize: bool = Field(True, description="Vectors of length 1.")


class SentenceTransformersFeatures(EmbeddingKeys):
    """A sentence-transformers model with its own modules, by that library (categorize[embeddings])."""

    type: Literal["sentence_transformers"]
    max_length: PositiveInt | None = Field(None, description="Longest input in tokens; the model's own by default.")
    prompt: str | None = Field(
        None, description="Name of one of the model's prompts, else the text to put before each text."
    )
    truncate_dim: PositiveInt | None = Field(None, description="Keep the first numbers of a vector (Matryoshka).")
    normalize: bool = Field(False, description="Vectors of length 1, even where the model's modules do not say so.")


class StaticFeatures(EmbeddingKeys):
    """Means of token vectors without a network, by model2vec (categorize[embeddings])."""

    type: Literal["static"]
    max_length: PositiveInt = Field(512, description="Longest input in tokens; longer ones are cut.")
    normalize: bool = Field(True, description="Vectors of length 1.")


FEATURES: dict[str, type[Section]] = {
    "tfidf": TfidfFeatures,
    "encoder": EncoderFeatures,
    "sentence_transformers": SentenceTransformersFeatures,
    "static": StaticFeatures,
}
FeatureSection = Annotated[Section, Variants("type", FEATURES)]
