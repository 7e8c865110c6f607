"""The small words that tell a follow-up question, by language.

*Opening* words lead a question on from what was said before ("and", "so", "what about"); *pointing*
words stand for something that was named before ("it", "those", "the second one"). Names of
languages are those of `lib.terms.LANGUAGES`, and a few that have no stemmer there.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    opening: frozenset[str]
    pointing: frozenset[str]
    small: frozenset[str]
    """Others that mean little by themselves, where `lib.terms.stop_words` does not have them."""


def _words(opening: str, pointing: str, small: str = "") -> Words:
    return Words(frozenset(opening.split()), frozenset(pointing.split()), frozenset(small.split()))


BY_LANGUAGE: Final = {
    "arabic": _words(
        "و ف لكن ثم أو إذن", "هذا هذه ذلك تلك عنه عنها فيه فيها به بها له لها منه منها"
    ),
    "catalan": _words(
        "i però doncs o també sí", "això allò aquest aquesta aquests aquestes ell ella ells"
    ),
    "czech": _words(
        "a ale tak takže nebo také ano", "to ten ta tento tato ono oni jeho její jejich"
    ),
    "danish": _words("og men så eller også ja", "det den de dette denne disse deres dens dets"),
    "dutch": _words(
        "en maar dus dan of ook ja", "dit deze die het hij zij hun ervan daarvan daarmee"
    ),
    "english": _words(
        "and but so then or also ok okay yes yeah no sure please more again",
        "it its that this these those they them their he him his she her one ones such same "
        "other others else instead former latter above more again too",
        "much many often everything anything something nothing way thing things kind lot get let",
    ),
    "finnish": _words("ja mutta entä tai myös joo", "se sen sitä siitä ne niitä niiden tämä tämän"),
    "french": _words(
        "et mais alors donc ou aussi oui",
        "cela ça ce cette ces celui celle ceux celles il elle ils elles lui leur y en",
    ),
    "german": _words(
        "und aber also dann oder auch ja nein",
        "das dies diese dieser dieses diesen es er sie ihn ihm ihr ihre sein seine davon dazu "
        "damit dafür dabei daran darauf",
    ),
    "greek": _words("και αλλά ή επίσης ναι", "αυτό αυτός αυτή αυτά αυτοί αυτές"),
    "hindi": _words(
        "और लेकिन तो फिर या", "यह वह ये वे इस उस इसे उसे इसका इसके इसकी उसका उसके उसकी इनके उनके"
    ),
    "hungarian": _words("és de akkor vagy is igen", "ez az ezt azt ezek azok ennek annak"),
    "indonesian": _words("dan tapi lalu atau juga ya", "itu ini dia mereka tersebut"),
    "italian": _words(
        "e ma allora quindi o anche sì",
        "questo questa questi queste quello quella quelli ciò lui lei loro suo sua",
    ),
    "norwegian": _words("og men så eller også ja", "det den de dette denne disse deres dens dets"),
    "persian": _words("و اما ولی پس یا", "این آن آنها اینها"),
    "polish": _words(
        "a ale i więc czyli lub też tak", "to ten ta te tego tej tym on ona ono jego jej ich"
    ),
    "portuguese": _words(
        "e mas então ou também sim",
        "isso isto esse essa esses essas este esta estes estas ele ela eles elas",
    ),
    "romanian": _words(
        "și dar deci atunci sau da", "asta acesta aceasta acestea acela el ea ei ele"
    ),
    "russian": _words(
        "и а но тогда или также да", "это этот эта эти этого этой он она оно они его её их ему им"
    ),
    "spanish": _words(
        "y e pero entonces o también sí",
        "eso esto ese esa esos esas este esta estos estas él ella ellos ellas su sus lo",
    ),
    "swedish": _words("och men så eller också ja", "det den de detta denna dessa deras dess"),
    "turkish": _words("ve peki ama ya veya evet", "bu şu o bunlar onlar bunu onu bunun onun"),
    "urdu": _words(
        "اور لیکن تو پھر یا",
        "یہ وہ اس ان اسے انہیں",
        "کیا ہے ہیں کا کی کے کو سے میں پر لیے نے کون کیسے کیوں",
    ),
    "vietnamese": _words(
        "và nhưng vậy hoặc còn", "nó đó này chúng", "là gì có không thế nào của cho làm sao tại"
    ),
}
"""Single words, in lower case."""

OPENINGS: Final = (
    "what about",
    "how about",
    "what if",
    "why not",
    "tell me more",
    "go on",
    "et si",
    "qué tal",
    "e se",
    "e como",
    "was ist mit",
    "wie wäre",
    "o zaman",
    "那",
    "那么",
    "还有",
    "では",
    "じゃあ",
    "それで",
    "でも",
    "그럼",
    "그리고",
    "그런데",
    "แล้ว",
)
"""Beginnings of questions, whatever the language."""

UNSPACED_POINTING: Final = tuple(
    "它 这 那 其 呢 これ それ あれ この その あの 그것 이것 그거 มัน นี้ นั้น".split()
)
"""Of the languages that are written without spaces."""
