from collections.abc import Sequence
from typing import Any, TypedDict, final

__version__: str

class Measure(TypedDict):
    """One measure of a text beside its limit."""

    name: str
    value: float
    limit: float
    passed: bool

@final
class CleanResult:
    """What became of one text."""

    @property
    def text(self) -> str:
        """The text after all normalisers and, if it is kept, redactors.

        It is the very object that was given if nothing changed.
        """
    @property
    def keep(self) -> bool:
        """Whether the text passed every filter."""
    @property
    def reason(self) -> str | None:
        """The first filter that it failed, such as "gopher_repetition.top_2_gram"; else None."""
    @property
    def measured(self) -> tuple[float, float] | None:
        """What that filter measured, and its limit; None for a text that is kept."""
    @property
    def changes(self) -> dict[str, int]:
        """How much each rule changed: characters for normalisers, finds for redactors.

        Rules that changed nothing are not listed.
        """

@final
class Cleaner:
    """Normalises, judges and redacts texts by the rules of a named profile.

    The same text and configuration give the same result on every machine and in every thread.
    Normalising a text that was normalised changes nothing. Pickling, copying and sharing between
    threads work.

    Profiles: "none" (no rule), "default" (normalises; drops what is empty or lost in decoding),
    "code" (keeps every space; drops generated, minified and data files), "gopher" and "fineweb"
    (English web text, equal to datatrove's filters up to the segmentation of words), "chinese"
    (Chinese web text by the character, after FineWeb2).
    """

    def __new__(cls, profile: str = "default", /, **overrides: Any) -> Cleaner:
        """Take a profile and change it.

        ``overrides`` are rules by name: False or None switches one off, True on, a dict on with
        the settings it names; a setting of None takes that limit away. ``redact=True`` switches on
        all redactors (email, ipv4, resident_id, mobile_phone); ``unit`` is "word" or "char", what
        counts as a word of Chinese and Japanese.

        Raises:
            ValueError: an unknown profile, rule or setting (the message names the nearest), or a
                value of the wrong type or out of range.
            TypeError: a value that is not plain data.

        >>> cleaner = Cleaner("fineweb", redact=True, length={"min_chars": 200})
        """
    @staticmethod
    def profiles() -> list[str]:
        """Return the names of all profiles."""
    def clean(self, text: str) -> CleanResult:
        """Clean one text.

        Raises:
            UnicodeEncodeError: ``text`` has lone surrogates, which no UTF-8 can hold.
        """
    def clean_batch(
        self, texts: Sequence[str], *, threads: int | None = None
    ) -> list[CleanResult]:
        """Clean many texts, in their order, on ``threads`` threads (None: all cores).

        Ctrl-C ends it within a text per thread.
        """
    def explain(self, text: str) -> list[Measure]:
        """Return every measure of ``text`` after normalisation, in the order of the filters.

        :meth:`clean` ends at the first measure that is not passed; this goes on.
        """
    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration: profile, unit, and each rule with all settings or False.

        ``Cleaner(config.pop("profile"), **config)`` is an equal cleaner.
        """
    @property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) over everything that decides the result.

        That is the unit and the name, version and settings of each rule that is on. It goes into
        the manifest of what is made with it.
        """
    def __eq__(self, other: object) -> bool:
        """Whether both have the same fingerprint."""
    def __hash__(self) -> int:
        """A hash of the fingerprint."""
