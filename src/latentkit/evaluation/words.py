"""What a word is, wherever words of texts are counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["ngrams", "words_of"]

#: Thai, Lao, Tibetan, Burmese; Khmer; kana and Han with their punctuation, in full width too; Han of later planes.
_WITHOUT_BLANKS: Final = (
    "\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u312f\u3190-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f"
    "\U00020000-\U0003ffff"
)
_WORD: Final = re.compile(rf"[{_WITHOUT_BLANKS}]|[^\s{_WITHOUT_BLANKS}]+")


def words_of(text: str) -> list[str]:
    """Cut a text into words: what stands between blanks; of scripts that are written without, each character.

    These are Han, kana, Thai, Lao, Tibetan, Burmese and Khmer, with their punctuation. A text may hold both. Nothing
    else is cut, so that texts that are cut into words already, as the published corpora are, keep theirs.

    Example:
        >>> words_of("the cat sat ."), words_of("我爱 NLP")
        (['the', 'cat', 'sat', '.'], ['我', '爱', 'NLP'])
    """
    return _WORD.findall(text)


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Return every run of n words.

    Example:
        >>> list(ngrams(["a", "b", "c"], 2))
        [('a', 'b'), ('b', 'c')]
    """
    return zip(*(words[start:] for start in range(n)), strict=False)
