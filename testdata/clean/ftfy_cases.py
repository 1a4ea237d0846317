"""Write ftfy.json: texts and what ftfy makes of them, for `repair` and `repair@datatrove`.

    pip install ftfy==6.3.1
    python testdata/clean/ftfy_cases.py > testdata/clean/ftfy.json

Texts are sentences of many scripts that were decoded wrongly up to three times, and then lost,
gained or changed characters; random neighbours of mojibake; entities and control characters.
`repaired` is `ftfy.fix_encoding` of each line, `datatrove` is `ftfy.fix_text` with the settings of
datatrove 0.10's FTFYFormatter.
"""

import json
import random
import sys

import ftfy

N = 1500
SENTENCES = [
    "voilà le travail", "“quotes” and ‘more’ — dash… é ü ß ñ", "Привет мир", "Ελληνικά γράμματα",
    "日本語、中文", "مرحبا بالعالم", "नमस्ते दुनिया", "한국어 텍스트",
    "😀 emoji 👍🏽", "Łódź žluťoučký kůň", "Türkçe ğışİ", "a à la carte",
    "ação, às àquele", "½ price £5 ©®™", "€100 — 20°C",
]  # fmt: skip
CHARSETS = [
    "latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "macroman",
    "sloppy-windows-1253", "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "cp437",
]  # fmt: skip
NEIGHBOURS = [
    *sorted({char for text in SENTENCES for char in text}),
    *map(chr, range(0x80, 0x180)),
    *"œŒ°²³ØÙÂÃàЂвўГВСР‚Äó√≈†€™ā\ufffd\x1a? .,<&;",
]
MARKUP = [
    "&amp;", "&lt;", "&#65;", "&#x9f;", "&#128;", "&eacute;", "&EACUTE;", "&nosuch;", "&#0;",
    "&#xD800;",
    "&#59;", "\x1b[31m", "\x1b[0;1m", "\x1b", "\ufeff", "\ufffc", "\u206a", "\x07", "\x0b", "\x85",
    "\x92", "a", "é", "Ã©", "â€™", "<", "\n", " ", "&#99999999999;", "&#x;", "&", "&amp;amp;",
]  # fmt: skip
SETTINGS = ftfy.TextFixerConfig(
    unescape_html="auto",
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    normalization=None,
    explain=False,
)


def mojibake(rng: random.Random) -> str:
    """Return sentences that were decoded wrongly, with some damage."""
    text = " ".join(rng.choices(SENTENCES, k=rng.randint(1, 2)))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        text = text.encode().decode(rng.choice(CHARSETS), errors="replace")
    chars = list(text)
    for _ in range(rng.randint(0, 3)):
        place = rng.randrange(len(chars))
        change = rng.random()
        if change < 0.3:
            chars.insert(place, rng.choice(NEIGHBOURS))
        elif change < 0.6:
            chars[place] = " " if chars[place] == "\xa0" else rng.choice("\ufffd? \x1a")
        elif len(chars) > 1:
            del chars[place]
    text = "".join(chars)
    return f"{rng.choice(SENTENCES)} {text}" if rng.random() < 0.3 else text


def main() -> None:
    """Write the cases to standard output."""
    rng = random.Random(0)
    texts: set[str] = set()
    while len(texts) < N:
        kind = rng.random()
        if kind < 0.5:
            text = mojibake(rng)[:120]
        elif kind < 0.75:
            text = "".join(rng.choices(NEIGHBOURS, k=rng.randint(1, 12)))
        else:
            text = "".join(rng.choices(MARKUP, k=rng.randint(1, 10)))
        texts.add(text)
    cases = []
    for text in sorted(texts):
        repaired = "\n".join(map(ftfy.fix_encoding, text.split("\n")))
        cases.append([text, repaired, ftfy.fix_text(text, SETTINGS)])
    head = {"ftfy": ftfy.__version__, "columns": ["text", "repaired", "datatrove"]}
    head = json.dumps(head)[:-1]
    rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    sys.stdout.write(f'{head}, "cases": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
