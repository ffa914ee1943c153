r"""Evaluation: what a trained model is worth, with an error on every number.

======================  ==========================================================================
function                answers
======================  ==========================================================================
`log_likelihood`        what is ln p(x) of these examples?
`convergence`           how does that estimate grow with the number of samples?
`ais`                   the same without a good encoder, by annealing
`sandwich`              how far can these be trusted? Bounds from both sides, on simulated examples
`inference_gaps`        is the ELBO low because of the family, or because of the encoder?
`active_units`          which latent variables does the encoder use?
`elbo_surgery`          how much of the KL term is information, how much mismatch with the prior?
======================  ==========================================================================

Values are in nats, one per example; `mean_over_examples` averages them. What comes back are a
`LogLikelihood`, an `AnnealedLogLikelihood`, a `Sandwich`, `InferenceGaps`, `ActiveUnits` and a
`SurgeryEstimate`; most have a standard error beside every value. No function touches torch's global
random state, and each leaves the model in the mode it found it in.
"""

from vae_lib.evaluation.annealing import AnnealedLogLikelihood, Sandwich, ais, sandwich
from vae_lib.evaluation.convergence import convergence
from vae_lib.evaluation.gaps import InferenceGaps, inference_gaps
from vae_lib.evaluation.likelihood import LogLikelihood, log_likelihood, mean_over_examples
from vae_lib.evaluation.surgery import SurgeryEstimate, elbo_surgery
from vae_lib.evaluation.units import ActiveUnits, active_units

__all__ = [
    "ActiveUnits",
    "AnnealedLogLikelihood",
    "InferenceGaps",
    "LogLikelihood",
    "Sandwich",
    "SurgeryEstimate",
    "active_units",
    "ais",
    "convergence",
    "elbo_surgery",
    "inference_gaps",
    "log_likelihood",
    "mean_over_examples",
    "sandwich",
]
