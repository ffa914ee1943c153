r"""Run cards: what a training run claims, in a form that anybody can check.

A card is one JSON file, `card.json`, with two small files beside it. `python -m vae_lib train`
writes its first half, `python -m vae_lib card` the second, `python -m vae_lib audit` checks it.

From a program: `read_card` reads a `Card`, `recorded` all those of the course, `CardTable` shows them, and
`read_values` has the numbers behind one. `audit` recomputes it and returns an `Audit`, a list of
`Comparison`; `data_at_hand` says whether it can. To make one, train inside `recording`, then call
`complete_card`; `evaluate_again` brings its numbers up to date. `CardError` says what is wrong with a
file, `digest` is the sha256 of a card.

The format, version 1 (`vae_lib.cards.schema` holds it as a JSON schema; a number that does not exist,
such as the standard error over a single example, is null):

=============================================  ========================================================
field                                          meaning
=============================================  ========================================================
`format`                                       1
`training.command`                             the words that started the run
`training.commit`, `.dirty`                    of the library; whether its files differed
`training.date`                                when the run ended, UTC
`training.model`                               how the model is built: builder and arguments
`training.config`                              the fields of `TrainConfig`, the seed among them
`training.data`                                name, likelihood, and fingerprints of both parts
`training.device`                              kind, name and the number of processes
`training.versions`                            of Python, torch, vae_lib and what else counts
`training.seconds`                             wall and CPU time of the training
`training.resumed`                             true if earlier parts of the run are not in `seconds`
`training.curve`                               one number per epoch, as in `History`; nats
`checkpoint.file`, `.sha256`, `.epoch`         the weights that the numbers below belong to
`checkpoint.precision`                         how they are stored; they compute in float32
`evaluation.data`                              name, split, binarisation, and a fingerprint
`evaluation.examples`                          their number
`evaluation.samples`, `.seed`                  importance samples for each, and the seed of the noise
`evaluation.device`, `.versions`               where and with what it was computed
`evaluation.seconds`                           wall and CPU time
`evaluation.elbo`, `.log_likelihood`           mean and standard error over examples; nats
`evaluation.effective_sample_size`             what the samples were worth, median over examples
`evaluation.values`                            file and sha256 of the same numbers, one per example
`sha256`                                       of the card without this field, keys sorted
=============================================  ========================================================

`binarisation` is null where a pixel is one if it is brighter than one half, and otherwise the seed with
which the pixels were drawn, once. The training half alone has neither `checkpoint` nor `evaluation`.

What an audit can find out, and what not: the numbers, the curve, the settings and the data follow from
the checkpoint, and are recomputed. Times, command, commit and the name of the device do not; for those
there is only the digest of the card, which shows a slip, but is no signature.
"""

from vae_lib.cards.auditing import Audit, Comparison, audit, data_at_hand
from vae_lib.cards.card import Card, CardError, digest, read_card, read_values
from vae_lib.cards.completing import complete_card, evaluate_again
from vae_lib.cards.recording import recording
from vae_lib.cards.showing import CardTable, recorded

__all__ = [
    "Audit",
    "Card",
    "CardError",
    "CardTable",
    "Comparison",
    "audit",
    "complete_card",
    "data_at_hand",
    "digest",
    "evaluate_again",
    "read_card",
    "read_values",
    "recorded",
    "recording",
]
