"""Returns the filters of datatrove of which peer.py stores the verdicts, by language and stage.

Needs `pip install datatrove==0.10.1 spacy jieba 'xxhash<4'`.
"""

import json
from pathlib import Path

from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

# huggingface/fineweb-2, configs/cmn_Hani.yml, as its pipeline passes them to the filters
CMN_HANI = json.loads((Path(__file__).parent / "fineweb2_cmn_Hani.json").read_text())


def english() -> dict[str, list]:
    """The stages of each profile."""
    repetition, quality = GopherRepetitionFilter(), GopherQualityFilter()
    c4, lenient = C4QualityFilter(), C4QualityFilter(filter_no_terminal_punct=False)
    fineweb = FineWebQualityFilter()
    return {
        "gopher_repetition": [repetition],
        "gopher_quality": [quality],
        "c4": [c4],
        "c4_lenient": [lenient],
        "fineweb": [fineweb],
        "fineweb@datatrove": [repetition, quality, lenient, fineweb],
    }


def chinese() -> dict[str, list]:
    """The stages of FineWeb-2 for cmn_Hani."""
    s = CMN_HANI
    repetition = GopherRepetitionFilter(
        language="cmn_Hani",
        dup_para_frac=0,
        dup_line_char_frac=0,
        dup_para_char_frac=0,
        dup_line_frac=s["dup_line_frac"],
        top_n_grams=s["top_n_grams"],
        dup_n_grams=s["dup_n_grams"],
    )
    fineweb = FineWebQualityFilter(
        language="cmn_Hani",
        short_line_thr=999,
        char_duplicates_ratio=0.1,
        line_punct_thr=s["line_punct_thr"],
        new_line_ratio=s["new_line_ratio"],
    )
    quality = GopherQualityFilter(
        language="cmn_Hani",
        max_avg_word_length=s["max_avg_word_length"],
        min_avg_word_length=s["min_avg_word_length"],
        stop_words=s["stopwords"],
        max_non_alpha_words_ratio=s["max_non_alpha_words_ratio"],
        min_stop_words=2,
    )
    return {
        "gopher_repetition": [repetition],
        "gopher_quality": [quality],
        "fineweb": [fineweb],
        "fineweb2@cmn_Hani": [repetition, fineweb, quality],
    }
