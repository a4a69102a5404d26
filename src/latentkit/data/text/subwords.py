"""Sub-words: pieces of texts that a corpus is made of, and bytes for what it does not hold."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from latentkit.core.errors import DataError
from latentkit.core.parameters import check_integer
from latentkit.data.text.vocabulary import Learner, vocabularies

__all__ = ["Subwords"]

#: What stands for a blank inside of pieces.
_BLANK: Final = "\u2581"
#: Share of the characters of a corpus that are pieces; the others are written in bytes.
_COVERAGE: Final = 0.9995
#: Tokens that are no pieces: the end, the unknown, which never stands in a text, and from this one on the bytes.
_FIRST_BYTE: Final = 2
_N_OTHERS: Final = _FIRST_BYTE + 256
#: Tokens where nothing else is asked for: characters, and pieces by the root of the length of the corpus, up to this.
_MOST, _PER_ROOT = 16_000, 4.0
#: Characters of a corpus that pieces are learnt from; longer ones are thinned out.
_LEARNT: Final = 20_000_000
_LONGEST: Final = 1 << 20


@final
@dataclass(frozen=True, slots=True)
class Subwords:
    """Pieces between character and word, by merging pairs of many uses, with bytes for everything else.

    Nothing is normalised and nothing is unknown: every text, with its control characters, comes back to the byte.

    Attributes:
        model: The model file of sentencepiece.

    Raises:
        DataError: If `model` is no such file, or of another kind.

    References:
        Sennrich et al., 2016, Neural Machine Translation of Rare Words with Subword Units, arXiv:1508.07909; Kudo and
        Richardson, 2018, SentencePiece, arXiv:1808.06226.

    Example:
        >>> subwords = Subwords.learn(["der Hund bellt", "der Hund schläft"] * 20, 300)
        >>> tokens = subwords.encode(["der Hund 狗", " bellt"])
        >>> [subwords.decode(each) for each in tokens]
        ['der Hund 狗', ' bellt']
    """

    model: bytes = field(repr=False)
    _processor: Any = field(init=False, repr=False, compare=False)
    _pieces: tuple[str | int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(self.model)
            n = processor.GetPieceSize()
            bytes_ = {int(processor.IdToPiece(i)[3:5], 16): i for i in range(n) if processor.IsByte(i)}
        except (RuntimeError, ValueError) as error:
            raise DataError("the vocabulary is no model of sentencepiece; fit again, or take a copy of it") from error
        if bytes_ != {byte: _FIRST_BYTE + byte for byte in range(256)} or not processor.IsControl(0):
            raise DataError("the vocabulary is one without bytes, or without an end as its token 0; fit again")
        others = (processor.IdToPiece(i).replace(_BLANK, " ") for i in range(n))
        pieces = tuple(i - _FIRST_BYTE if 0 <= i - _FIRST_BYTE < 256 else piece for i, piece in enumerate(others))
        object.__setattr__(self, "_processor", processor)
        object.__setattr__(self, "_pieces", pieces)

    @classmethod
    def learn(cls, texts: Sequence[str], n_tokens: int | None = None) -> Subwords:
        """Return pieces of texts; the same texts give the same pieces.

        Args:
            texts: The corpus.
            n_tokens: How many tokens at most, the end and 257 others that are no pieces included; None for a number
                that grows with the number of characters and with the root of the length of the corpus.
        Raises:
            DataError: If the texts hold no character.
        """
        import sentencepiece

        characters = Counter("".join(texts).replace(_BLANK, " "))
        length = characters.total()
        if not length:
            raise DataError("the texts hold no character. Give texts")
        common = _common(characters, length)
        if n_tokens is None:
            n_tokens = min(_MOST, _N_OTHERS + len(common) + round(_PER_ROOT * math.sqrt(length)))
        else:
            check_integer("n_tokens", n_tokens, low=_N_OTHERS + 2)
            common = common[: n_tokens - _N_OTHERS - 1]
        # the others are left out here, and written in bytes
        hidden = dict.fromkeys(map(ord, characters.keys() - set(common) | {"\0"}), " ")
        learnt = [text.translate(hidden) for text in texts[:: max(1, length // _LEARNT)]]
        writer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([text for text in learnt if text.strip()] or [" a"]),
            model_writer=writer,
            model_type="bpe",
            vocab_size=n_tokens,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=_LONGEST,
            bos_id=-1,
            pad_id=-1,
            eos_id=0,
            unk_id=1,
            num_threads=1,
            minloglevel=2,
        )
        return cls(writer.getvalue())

    @property
    def name(self) -> str:
        return "subwords"

    @property
    def n_tokens(self) -> int:
        return len(self._pieces)

    @property
    def unknown(self) -> int:
        return 1

    @property
    def is_exact(self) -> bool:
        return True

    @property
    def first_byte(self) -> int:
        return _FIRST_BYTE

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self._processor.EncodeAsIds(list(texts))
        return [
            tokens if self.decode(tokens) == text else [_FIRST_BYTE + byte for byte in text.encode()]
            for tokens, text in zip(found, texts, strict=True)
        ]

    def decode(self, tokens: Sequence[int]) -> str:
        r"""Return the text of tokens; bytes of a model's making that are no UTF-8 become ``"\\ufffd"``."""
        parts = (self._pieces[token] for token in tokens)
        return b"".join(bytes([part]) if isinstance(part, int) else part.encode() for part in parts).decode(
            errors="replace"
        )

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        parts = (self._pieces[token] for token in tokens)
        return [f"<{part:02X}>" if isinstance(part, int) else part for part in parts]

    def openings(self, *, after_blank: bool) -> list[bool]:
        """Bytes open no part: they are characters only together."""
        fits = [isinstance(piece, str) and piece.startswith(" ") == after_blank for piece in self._pieces]
        return [False, False, *fits[2:]]

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "model": base64.b64encode(self.model).decode()}


def _common(characters: Counter[str], length: int) -> list[str]:
    """The characters that are pieces, those of most uses first."""
    found, covered = [], 0
    for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        if covered >= _COVERAGE * length:
            break
        found.append(character)
        covered += count
    return found


vocabularies.register("subwords", cites=("sennrich2016neural", "kudo2018sentencepiece"))(
    Learner(Subwords.learn, lambda description: Subwords(base64.b64decode(description["model"], validate=True)))
)
