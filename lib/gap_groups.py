"""Group questions by meaning, across languages.

A question's vector also encodes its form: "How do I export a page?" is nearer to other whole
questions than to "pdf export". So two parts of the vectors are removed: the one that a linear
regression predicts from a question's length, question mark, first letter and language, and the
mean, which is the book's subject. In 8 sets of 20 topics, two questions about one topic are then
nearer than two others with a probability of 0.89 instead of 0.67 (`benchmarks/gaps.py`).

A few questions are not enough for these estimates. `EXAMPLES` with known subjects give the first
estimate, which the log's questions refine. They also give the spread of the similarity between
unrelated questions for the embedding model, which is the unit of all thresholds.

Groups are formed by average linkage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import Final

import numpy as np
import numpy.typing as npt

from lib.embedding import Vectors, l2_normalise

_Labels = npt.NDArray[np.intp]

EXAMPLES: Final = (
    "How do I renew my passport?",
    "passport renewal fee",
    "Mein Reisepass läuft nächste Woche ab.",
    "¿Dónde se renueva el pasaporte?",
    "When are tomatoes planted outdoors?",
    "tomato seedlings frost",
    "Les feuilles de mes tomates jaunissent.",
    "トマトの苗はいつ植えますか",
    "How do I sort a list in reverse order?",
    "sort list descending",
    "Die Liste kommt immer falsch herum heraus.",
    "Comment trier une liste à l'envers ?",
    "Wie oft muss ein Auto zum Ölwechsel?",
    "Ölwechsel Intervall",
    "The oil light went on again after a month.",
    "汽车多久换一次机油？",
    "What helps against a headache?",
    "headache tablets dose",
    "Me duele la cabeza todos los días.",
    "Was hilft gegen Kopfschmerzen?",
    "Comment réserver une table pour six personnes ?",
    "réservation table restaurant",
    "We stood outside because nobody had kept our seats.",
    "كيف أحجز طاولة لستة أشخاص؟",
    "How is a mortgage calculated?",
    "mortgage interest rate",
    "Our monthly payment for the house went up.",
    "Wie berechnet man die Rate für ein Haus?",
    "¿Cómo se entrena a un cachorro?",
    "adiestrar perro correa",
    "My dog pulls on the leash all the time.",
    "子犬のしつけはどうすればいいですか",
    "Why does my Wi-Fi keep dropping?",
    "wifi router reset",
    "Das Internet ist abends ständig weg.",
    "无线网络为什么总是断开？",
    "Wie lange kocht ein Ei?",
    "Eier kochen Minuten",
    "The yolk is always too hard.",
    "¿Cuánto tiempo se hierve un huevo?",
    "How do I tune a guitar?",
    "guitar tuning strings",
    "Ma guitare sonne faux dès que je joue.",
    "كيف أضبط أوتار الغيتار؟",
    "Quand faut-il payer l'impôt ?",
    "impôt date limite",
    "I missed the deadline for my taxes.",
    "Bis wann muss ich die Steuern zahlen?",
    "How high is the highest mountain?",
    "mountain height metres",
    "Der Gipfel war in Wolken, wir sahen nichts.",
    "最高的山有多高？",
    "Wie streiche ich eine Wand?",
    "Wand streichen Farbe",
    "The paint comes off in flakes.",
    "壁の塗り方を教えてください",
    "How do I learn French vocabulary?",
    "vocabulary flash cards",
    "Olvido las palabras después de dos días.",
    "Wie lerne ich Vokabeln?",
    "Comment réparer un pneu crevé ?",
    "crevaison vélo rustine",
    "My bike lost all its air on the way home.",
    "كيف أصلح إطار دراجة مثقوبا؟",
)
"""Questions in several forms and languages: `_EACH` about a subject, then as many about another."""
_EACH: Final = 4

_RIDGE: Final = 5.0
"""Penalty of the regressions, in questions."""
_FEW: Final = 20.0
"""Number of questions at which half of their mean counts as the book's subject."""
_NEAR: Final = 1.4
"""Minimum average similarity of two groups that are joined. This and the next are in standard
deviations of the similarity of unrelated questions."""
_ONE_BOOK: Final = 2.5
"""Average similarity of questions to one book. If it is larger, they are about few topics, and
their mean is their meaning too."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Statistics of an embedding model, from `EXAMPLES`."""

    mean: Vectors
    """`(dimension,)`: mean of the vectors."""
    forms: Vectors
    """`(features,)`: mean of the forms."""
    slopes: Vectors
    """`(features, dimension)`: regression of the vectors on the forms."""
    spread: float
    """Standard deviation of the similarity of unrelated questions."""


def calibrate(vectors: Vectors) -> Calibration:
    """Calibrate with the vectors of `EXAMPLES`, `(len(EXAMPLES), dimension)`."""
    forms = _forms(EXAMPLES)
    mean, centre = vectors.mean(axis=0), forms.mean(axis=0)
    slopes = _ridge(forms - centre, vectors - mean)
    rest: Vectors = l2_normalise(vectors - mean - (forms - centre) @ slopes)
    subjects = np.arange(len(EXAMPLES)) // _EACH
    unrelated = subjects[:, np.newaxis] < subjects
    return Calibration(mean, centre, slopes, float((rest @ rest.T)[unrelated].std()))


class Meanings:
    """Removes the form and the common subject from the vectors of a log's questions."""

    def __init__(
        self,
        calibration: Calibration,
        vectors: Vectors,
        texts: Sequence[str],
        languages: Sequence[str],
    ) -> None:
        """`vectors`: `(len(texts), dimension)`, L2-normalised."""
        self._calibration = calibration
        self._languages = sorted(set(languages))
        rest, number = self._without_form(vectors, texts), len(texts)
        common = rest.mean(axis=0)
        described = self._describe(texts, languages)
        self._centre = described.mean(axis=0)
        self._slopes = _ridge(described - self._centre, rest - common)
        share = number / (number + _FEW)
        self._common = share * common
        left = (1 - share) ** 2
        # The mean similarity of two different questions.
        alike = (number * float(common @ common) - 1) / max(1, number - 1)
        book = _ONE_BOOK * calibration.spread
        self.near = _NEAR * calibration.spread + left * book - (1 - left) * max(0.0, alike - book)
        """Similarity from which questions have one meaning."""

    def of(self, vectors: Vectors, texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        """Remove form, language and common subject: `(len(texts), dimension)`, L2-normalised."""
        rest = self._without_form(vectors, texts)
        rest -= (self._describe(texts, languages) - self._centre) @ self._slopes
        rest -= self._common
        return l2_normalise(rest)

    def _without_form(self, vectors: Vectors, texts: Sequence[str]) -> Vectors:
        known = self._calibration
        form = np.asarray((_forms(texts) - known.forms) @ known.slopes, np.float32)
        return l2_normalise(vectors - known.mean - form)

    def _describe(self, texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        """The form and the language of each question, `(len(texts), features)`."""
        spoken = [[each == name for name in self._languages] for each in languages]
        return np.column_stack([_forms(texts), np.array(spoken, np.float32)])


def _forms(texts: Sequence[str]) -> Vectors:
    """The form of each text, `(len(texts), features)`."""
    return np.array(
        [
            (
                log1p(len(text.split())),
                log1p(len(text)),
                any(mark in text for mark in "?？؟"),
                text[:1].islower(),
            )
            for text in texts
        ],
        np.float32,
    )


def _ridge(inputs: Vectors, outputs: Vectors) -> Vectors:
    """Ridge regression of `outputs` `(n, m)` on centred `inputs` `(n, k)`: `(k, m)`."""
    penalty = _RIDGE * np.eye(inputs.shape[1], dtype=np.float32)
    found: Vectors = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ outputs)
    return found


def group_means(meanings: Vectors, labels: _Labels) -> Vectors:
    """Mean of each group's rows, `(groups, dimension)`, not normalised.

    Its product with a meaning is the average similarity of the meaning to the group.
    """
    sums = np.zeros((int(labels.max()) + 1, meanings.shape[1]), np.float32)
    np.add.at(sums, labels, meanings)
    counts = np.bincount(labels).astype(np.float32)
    return sums / counts[:, np.newaxis]


def assign(meanings: Vectors, means: Vectors, near: float) -> _Labels:
    """The group with the most similar mean for each row; -1 if the similarity is below `near`."""
    similarity = meanings @ means.T
    nearest = similarity.argmax(axis=1)
    return np.where(similarity[np.arange(len(meanings)), nearest] >= near, nearest, -1)


def link_average(similarity: Vectors, near: float) -> _Labels:
    """Average linkage: join the two groups with the largest average similarity, while it is at
    least `near`. Overwrites `similarity` `(n, n)`. Returns the group of each row, numbered from 0
    in the order of their first rows.

    The nearest-neighbour chain (Murtagh 1983) takes n² steps. It joins in another order; the
    result is the same, because two joined groups are never nearer to a third than both were.
    """
    number = len(similarity)
    np.fill_diagonal(similarity, -np.inf)
    sizes, parents = np.ones(number), np.arange(number)
    chain: list[int] = []
    left = set(range(number))
    while left or chain:
        if not chain:
            chain.append(left.pop())
        last = chain[-1]
        row = similarity[last]
        nearest = int(row.argmax())
        best = row[nearest]
        if len(chain) > 1 and row[chain[-2]] >= best:
            nearest = chain[-2]
        if best < near:
            # It can join no other group.
            similarity[last] = similarity[:, last] = -np.inf
            chain.pop()
            continue
        if len(chain) == 1 or nearest != chain[-2]:
            chain.append(nearest)
            left.discard(nearest)
            continue
        del chain[-2:]
        kept, gone = sorted((last, nearest))
        total = sizes[kept] + sizes[gone]
        joined = (sizes[kept] * similarity[kept] + sizes[gone] * similarity[gone]) / total
        similarity[gone] = similarity[:, gone] = -np.inf
        joined[[kept, gone]] = -np.inf
        similarity[kept] = similarity[:, kept] = joined
        sizes[kept] = total
        parents[gone] = kept
        left.add(kept)
    for each in range(number):  # a parent is before its children, so it has its root already
        parents[each] = parents[parents[each]]
    labels: _Labels = np.unique(parents, return_inverse=True)[1]
    return labels
