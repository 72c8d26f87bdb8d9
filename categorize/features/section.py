"""The sections of features, which lie beside the recipe's others: a prompt's examples are chosen by features too."""

from categorize.recipe.feature_sections import (
    FEATURES,
    EmbeddingKeys,
    EncoderFeatures,
    FeatureSection,
    NgramKeys,
    NgramRange,
    SentenceTransformersFeatures,
    StaticFeatures,
    TfidfFeatures,
)

__all__ = [
    "FEATURES",
    "EmbeddingKeys",
    "EncoderFeatures",
    "FeatureSection",
    "NgramKeys",
    "NgramRange",
    "SentenceTransformersFeatures",
    "StaticFeatures",
    "TfidfFeatures",
]
